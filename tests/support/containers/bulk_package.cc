// SPDX-License-Identifier: MIT
#include "tests/support/containers/bulk_package.h"

#include <fcntl.h>

#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/unique_fd.h"
#include "core/webc/writer.h"

namespace pkgfs::test {

std::string BulkPackage::write(const std::filesystem::path& directory, webc::Version version) const {
  using webc::Json;
  Json manifest;
  manifest["package"]["wapm"] = {{"name", "acme/x"}, {"version", "1.0.0"}};
  Json fs = Json::array();
  for (std::size_t i = 0; i < mount_paths.size(); ++i) {
    fs.push_back({{"from", nullptr}, {"volume_name", "/data"}, {"mount_path", mount_paths[i]}});
    if (!sources.empty()) {
      fs.back()["host_path"] = sources[i];
    }
  }
  manifest["package"]["fs"] = std::move(fs);
  using Members = std::vector<Json::object_t::value_type, Json::object_t::allocator_type>;
  Json::object_t all;
  for (const std::string& name : commands) {  // `all[name]` would look for the name first
    static_cast<Members&>(all).emplace_back(
        name, Json{{"runner", "https://webc.org/runner/wasi"}, {"annotations", Json::object()}});
  }
  manifest["commands"] = std::move(all);
  webc::WriterNode root{.children = {{.name = "hello", .kind = webc::EntryKind::kFile, .content = std::string("hi")}}};
  for (const std::string& name : directories) {
    root.children.push_back({.name = name});
  }
  webc::Writer writer(version, std::move(manifest));
  writer.add_volume("/data", std::move(root));
  std::string path = (directory / "x.webc").string();
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) {
    throw std::runtime_error("can't write " + path);
  }
  static_cast<void>(writer.write(fd.get()));
  return path;
}

std::vector<std::string> numbered(const std::string& prefix, std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) {
    names.push_back(prefix + std::to_string(100'000 + i));
  }
  return names;
}

std::string deep_path(std::size_t depth) {
  std::string path;
  for (std::size_t i = 0; i < depth; ++i) {
    path += "/a";
  }
  return path;
}

std::vector<std::string> nested_paths(std::size_t count) {
  std::vector<std::string> paths;
  for (std::size_t depth = 1; depth <= count; ++depth) {
    paths.push_back(deep_path(depth));
  }
  return paths;
}

}  // namespace pkgfs::test
