// SPDX-License-Identifier: MIT
#include "tests/net/refresh.h"

#include <nlohmann/json.hpp>

namespace pkgfs::test {

std::filesystem::path RefreshTest::build(int number) const {
  const std::string content = version(number) + "\n";
  PackageBuilder builder("acme/app@" + version(number));
  builder.file("root", "version", version(number));
  builder.file("root", "same/file", "the same in all\n");
  builder.file("root", "only-" + std::to_string(number) + "/file", content);
  builder.link("root", "current", "only-" + std::to_string(number));
  for (int i = 0; i < kFiles; ++i) {
    builder.file("root", "data/" + std::to_string(i), content);
    builder.file("root", "data/sub/" + std::to_string(i), content);
  }
  builder.mount("/", "root");
  std::filesystem::path path = home_.path() / (version(number) + ".webc");
  builder.write(path);
  return path;
}

std::unique_ptr<MountedPackage> RefreshTest::mount(Arguments options) const {
  options.insert(options.begin(), {"--registry", server_.endpoint(), "--timeout", "2"});
  return std::make_unique<MountedPackage>(kPkgfs, "acme/app@^2", options, ProcessOptions{.environment = environment()});
}

nlohmann::json RefreshTest::versions(const MountedPackage& mounted) {
  return statistics(mounted).value("versions", nlohmann::json());
}

bool RefreshTest::has_open(const MountedPackage& mounted, int count) {
  return eventually([&] { return versions(mounted).value("open", 1) == count; }, std::chrono::seconds(10));
}

}  // namespace pkgfs::test
