// SPDX-License-Identifier: MIT
// Risk: the nginx of docs/SCALE.md doesn't start, asks the registry for the same bytes again, or pkgfs can't mount
// through it.

#include <memory>
#include <string>
#include <vector>

#include "tests/net/net.h"
#include "tests/net/oci_registry.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

void replace_all(std::string& text, const std::string& old, const std::string& by) {
  ASSERT_NE(text.find(old), std::string::npos) << old;
  for (std::size_t at = text.find(old); at != std::string::npos; at = text.find(old, at + by.size())) {
    text.replace(at, old.size(), by);
  }
}

class ClusterCache : public NetTest {
 protected:
  static constexpr std::size_t kFiles = 600;

  void SetUp() override {
    NetTest::SetUp();
    if (const std::string why = fuse_missing(); !why.empty()) {
      GTEST_SKIP() << why;
    }
    PackageBuilder builder("acme/big@1.0.0");
    for (std::size_t i = 0; i < kFiles; ++i) {
      builder.file("data", name_of(i), content_of(i));
    }
    builder.mount("/", "data");
    builder.write(home_.path() / "big.webc");
    registry_ = std::make_unique<TestRegistry>(std::vector<fs::path>{home_.path() / "big.webc"});
    start_nginx();
  }

  static std::string name_of(std::size_t i) { return "d" + std::to_string(i / 20) + "/f" + std::to_string(i); }
  static std::string content_of(std::size_t i) {
    return std::string(16 << 10U, static_cast<char>('a' + i % 26)) + std::to_string(i);
  }

  /// nginx with the block of the page. Only the names of servers and files are others, and it doesn't encrypt.
  void start_nginx() {
    const std::string page = read_text(source_directory() / "docs/SCALE.md");
    const std::string fence = "```nginx\n";
    const std::size_t begin = page.find(fence);
    ASSERT_NE(begin, std::string::npos);
    std::string block = page.substr(begin + fence.size());
    block.resize(block.find("```"));
    const std::string port = std::to_string(free_port());
    endpoint_ = "http://127.0.0.1:" + port + "/graphql";
    replace_all(block, "8443 ssl", "127.0.0.1:" + port);
    replace_all(block, "    ssl_certificate", "    # ssl_certificate");
    replace_all(block, "https://packages.internal:8443/", "http://127.0.0.1:" + port + "/");
    replace_all(block, "https://registry.wasmer.io", registry_->authority());
    replace_all(block, "https://cdn.wasmer.io/", registry_->authority() + "/files/");
    replace_all(block, "/var/cache/nginx/pkgfs", (place_.path() / "cache").string());
    const std::string directory = place_.path().string();
    std::string settings = "daemon off;\nmaster_process off;\npid " + directory + "/pid;\nevents {}\nhttp {\n";
    for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      settings += std::string(kind) + "_temp_path " + directory + "/" + kind + ";\n";
    }
    place_.write("nginx.conf", settings + "access_log off;\n" + block + "}\n");
    nginx_ = std::make_unique<Process>(
        Arguments{"nginx", "-p", directory, "-e", directory + "/error.log", "-c", directory + "/nginx.conf"});
    ASSERT_TRUE(eventually([&] { return curl({"http://127.0.0.1:" + port + "/"}).exit_code == 0; }))
        << nginx_->err() << read_text(place_.path() / "error.log");
  }

  /// Mounts as a machine of its own, whose cache is `home`, and reads all files.
  void read_all(const fs::path& home, const Arguments& options) {
    auto variables = environment();
    for (auto& [name, value] : variables) {
      value = name == "WASMER_DIR" ? home.string() : value;
    }
    Arguments arguments{"--registry", endpoint_, "--cache-dir", (home / "cache").string(), "--lazy=on"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    MountedPackage mount(kPkgfs, "acme/big@1.0.0", arguments, ProcessOptions{.environment = variables});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    for (std::size_t i = 0; i < kFiles; ++i) {
      ASSERT_EQ(read_text(mount / name_of(i)), content_of(i)) << name_of(i);
    }
  }

  /// Bytes of files that the registry sent.
  [[nodiscard]] std::uint64_t sent() const {
    std::uint64_t sum = 0;
    for (const auto& request : registry_->requests()) {
      sum += request.is_file() ? request.sent : 0;
    }
    return sum;
  }

  TempDir place_;
  std::unique_ptr<TestRegistry> registry_;
  std::string endpoint_;
  std::unique_ptr<Process> nginx_;
};

TEST_F(ClusterCache, TheRegistrySendsEachByteOnce) {
  const std::uint64_t size = fs::file_size(home_.path() / "big.webc");
  ASSERT_GT(size, 8U << 20U);
  for (int machine = 0; machine < 3; ++machine) {
    const TempDir home;
    read_all(home.path(), {"--background=off"});
  }
  EXPECT_GT(sent(), size / 2);
  EXPECT_LE(sent(), size + (1U << 20U)) << "each slice once";
  const TempDir home;
  read_all(home.path(), {"--background=auto"});
  EXPECT_LE(sent(), size + (1U << 20U));
}

}  // namespace
}  // namespace pkgfs::test
