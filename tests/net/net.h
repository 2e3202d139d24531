// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/mounted/mounted.h"
#include "tests/net/curl.h"
#include "tests/support/registry/test_registry.h"

namespace pkgfs::test {

/// Runs the program with a home of its own, so that no cache, login or proxy of this machine plays a part.
class NetTest : public RegistryTest {
 protected:
  /// `pkgfs ARGUMENTS...`.
  [[nodiscard]] ProcessResult pkgfs(const Arguments& arguments) const { return pkgfs(arguments, {}); }
  [[nodiscard]] ProcessResult pkgfs(Arguments arguments, std::vector<std::pair<std::string, std::string>> more,
                                    std::chrono::milliseconds timeout = std::chrono::seconds(30)) const;
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> environment() const;

  [[nodiscard]] std::filesystem::path cache() const { return home_.path() / ".wasmer/cache"; }
  [[nodiscard]] std::filesystem::path checkouts() const { return cache() / "checkouts"; }
  /// Where the container with this hash is cached.
  [[nodiscard]] std::filesystem::path entry(const std::string& sha256) const { return checkouts() / (sha256 + ".bin"); }
  /// Every regular file below the cache that is neither a query, a profile nor an entry with the right content,
  /// relative to it.
  [[nodiscard]] std::vector<std::string> litter() const;

  /// For each way in which a server may be unable to send parts of a file: what `mount` returns has downloaded `entry`
  /// into the empty cache, and passes `check`.
  template <typename Mount, typename Check>
  void expect_download_without_parts(TestRegistry& server, const std::filesystem::path& entry, const Mount& mount,
                                     const Check& check) const {
    for (const Fault& fault : {Fault{.kind = Fault::Kind::kIgnoreRange, .where = Fault::Where::kFiles},
                               Fault{.where = Fault::Where::kFiles, .etag = Fault::Etag::kWeak},
                               Fault{.where = Fault::Where::kFiles, .etag = Fault::Etag::kNone}}) {
      std::filesystem::remove_all(cache());
      server.set_fault(fault);
      const auto mounted = mount();
      ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
      EXPECT_TRUE(std::filesystem::exists(entry));
      check(*mounted);
    }
  }

  TempDir home_;
};

/// The requests of each kind.
[[nodiscard]] std::size_t count_graphql(const TestRegistry& registry);
[[nodiscard]] std::size_t count_files(const TestRegistry& registry);

}  // namespace pkgfs::test
