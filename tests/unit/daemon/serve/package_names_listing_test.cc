// SPDX-License-Identifier: MIT
// Risk: what can't be read for a moment is shown as empty.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/serve/package_names.h"
#include "tests/support/fixtures.h"

namespace pkgfs {
namespace {

class PackageNamesListing : public ::testing::Test {
 protected:
  PackageNamesListing() {
    place_.write("registry/acme/app/1.0.0.webc", "not read");
    place_.write("registry/acme/app/1.1.0.webc", "not read");
    place_.write("registry/file", "no namespace");
    names_ =
        std::make_unique<PackageNames>(flags(), "", Io{nullptr, nullptr, [](const char*) { return std::nullopt; }});
  }
  [[nodiscard]] TreeFlags flags() const {
    TreeFlags flags;
    flags.network.offline = true;
    flags.network.registries = {place_.path() / "registry"};
    flags.network.cache_dir = place_.path() / "cache";
    return flags;
  }
  /// The names, and the error.
  [[nodiscard]] std::pair<std::set<std::string>, int> list(const std::string& directory) {
    std::promise<std::pair<std::set<std::string>, int>> made;
    names_->list(directory, [&](const std::vector<vfs::ServedNames::Listed>& all, int error) {
      std::set<std::string> names;
      for (const auto& each : all) {
        names.insert(each.name);
      }
      made.set_value({names, error});
    });
    return made.get_future().get();
  }

  test::TempDir place_;
  std::unique_ptr<PackageNames> names_;
};

/// For as long as it lives, no file can be opened.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit none{.rlim_cur = 0, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

using Found = std::pair<std::set<std::string>, int>;

TEST_F(PackageNamesListing, SaysWhatCouldntBeRead) {
  EXPECT_EQ(list(""), Found({"acme", "sha256"}, 0)) << "that there is no cache is no failure";
  EXPECT_EQ(list("acme"), Found({"app", "app@1.0.0", "app@1.1.0"}, 0));
  EXPECT_EQ(list("other"), Found({}, 0));
  const NoDescriptors none;
  EXPECT_EQ(list("acme"), Found({}, EMFILE));
  EXPECT_EQ(list(""), Found({"sha256"}, EMFILE));
  EXPECT_EQ(list("sha256"), Found({}, EMFILE));
}

}  // namespace
}  // namespace pkgfs
