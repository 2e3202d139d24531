// SPDX-License-Identifier: MIT
// Risk: a registry that redirects to its storage can't be used, or the storage gets the login; a registry that lies
// makes pkgfs show wrong bytes or keep them.
#include <gmock/gmock.h>

#include <random>

#include "core/base/hash.h"
#include "tests/net/oci_registry.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/raw_server.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class OciFaults : public OciTest {
 protected:
  static constexpr std::size_t kLarge = std::size_t{6} << 20U;

  void SetUp() override {
    OciTest::SetUp();
    std::mt19937 random(1);
    large_.resize(kLarge);
    for (char& c : large_) {
      c = static_cast<char>(random());
    }
    container_ = home_.path() / "big.webc";
    PackageBuilder("acme/big@1.0.0")
        .file("data", "large", large_)
        .file("data", "small", "small")
        .mount("/", "data")
        .write(container_);
  }

  std::string large_;
  fs::path container_;
};

TEST_F(OciFaults, StorageElsewhereGetsNoLogin) {
  const std::string port = std::to_string(free_port());
  registry_ = std::make_unique<OciRegistry>(OciRegistry::Options{.redirect = "https://localhost:" + port + "/"});
  const TempDir place;
  const std::string directory = place.path().string();
  std::string settings = "daemon off;\nmaster_process off;\nuser root;\npid " + directory +
                         "/pid;\nevents {}\nhttp {\nlog_format short '$request_method $status $http_authorization.';\n";
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    settings += std::string(kind) + "_temp_path " + directory + "/" + kind + ";\n";
  }
  place.write("nginx.conf", settings + "access_log " + directory + "/log short;\nserver {\nlisten 127.0.0.1:" + port +
                                " ssl;\nssl_certificate " + registry_->ca_file() + ";\nssl_certificate_key " +
                                registry_->key_file() + ";\nroot " + registry_->data() + ";\n}\n}\n");
  const Process nginx(
      Arguments{"nginx", "-p", directory, "-e", directory + "/error.log", "-c", directory + "/nginx.conf"});
  ASSERT_TRUE(eventually([&] {
    return run({"curl", "-s", "-k", "-o", "/dev/null", "https://localhost:" + port + "/"}).ok();
  })) << nginx.err();
  const std::string name = push(container_, "acme/big:1");
  const MountedPackage mount(kPkgfs, name, {"--background=off", "--lazy=on"}, {.environment = variables()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "small"), "small");
  EXPECT_TRUE(read_text(mount / "large") == large_);
  const std::string log = read_text(place.path() / "log");
  EXPECT_THAT(log, AllOf(HasSubstr("GET 206 -."), Not(HasSubstr("Basic")))) << log;
}

TEST_F(OciFaults, StorageWithoutHttpsIsRefused) {
  const std::string name = push(container_, "acme/big:1");
  ASSERT_EQ(oci({"cat", "--lazy=off", name, "/small"}).out, "small");
  fs::remove_all(checkouts());  // the manifest and the lock file stay in the cache
  registry_->redirect_to("http://localhost:1/");
  for (const char* lazy : {"--lazy=on", "--lazy=off"}) {
    EXPECT_THAT(oci({"cat", lazy, name, "/small"}).err, HasSubstr("the server redirects from https to")) << lazy;
  }
}

/// A registry on this machine, without https or a login, that serves what another one has stored, with lies.
class OciLies : public OciFaults {
 protected:
  enum class Lie { kNone, kBytes, kRange, kSize, kWholeFile };

  void SetUp() override {
    OciFaults::SetUp();
    const std::string name = push(container_, "acme/big:1");
    digest_ = name.substr(name.find('@') + 1);
    server_ = std::make_unique<RawServer>([this](const std::string& request, std::size_t) { return answer(request); });
  }
  [[nodiscard]] std::string stored(const std::string& digest) const {
    const std::string hex = digest.substr(digest.find(':') + 1);
    return read_text(registry_->data() + "/docker/registry/v2/blobs/sha256/" + hex.substr(0, 2) + "/" + hex + "/data");
  }
  static std::string reply(const std::string& status, const std::string& body, const std::string& headers = {}) {
    return "HTTP/1.1 " + status + "\r\nConnection: close\r\n" + headers +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  RawServer::Reply answer(const std::string& request) const {
    if (!request.starts_with("GET /v2/")) {
      return {};
    }
    const std::string path = request.substr(4, request.find(" HTTP/") - 4);
    if (path == "/v2/") {
      return {.bytes = reply("200 OK", "{}")};
    }
    const std::string last = path.substr(path.rfind('/') + 1);
    const bool is_manifest = path.find("/manifests/") != std::string::npos;
    std::string body = stored(is_manifest ? digest_ : last);
    if (body.size() < kLarge) {
      return {.bytes = reply("200 OK", body)};
    }
    if (lie_ == Lie::kBytes) {
      body[body.size() / 2] = static_cast<char>(body[body.size() / 2] ^ 1);
    } else if (lie_ == Lie::kSize) {
      body += "more";
    }
    const std::string range = header_of(request, "Range");
    if (range.empty() || lie_ == Lie::kWholeFile) {
      return {.bytes = reply("200 OK", body, "ETag: \"one\"\r\n")};
    }
    const std::size_t first = std::stoul(range.substr(range.find('=') + 1));
    const std::size_t end = std::min(body.size(), std::stoul(range.substr(range.find('-') + 1)) + 1);
    const std::size_t shown = lie_ == Lie::kRange ? first + 1 : first;
    return {.bytes = reply("206 Partial Content", body.substr(first, end - first),
                           "ETag: \"one\"\r\nContent-Range: bytes " + std::to_string(shown) + "-" +
                               std::to_string(end - 1) + "/" + std::to_string(body.size()) + "\r\n")};
  }
  [[nodiscard]] ProcessResult cat(const std::string& lazy) const {
    const std::string host = server_->authority().substr(std::string("http://").size());
    return pkgfs({"cat", lazy, "--timeout=2", "oci://" + host + "/acme/big:1", "/large"});
  }

  std::string digest_;
  std::unique_ptr<RawServer> server_;
  Lie lie_ = Lie::kNone;
};

TEST_F(OciLies, TheTruthIsTaken) {
  EXPECT_TRUE(cat("--lazy=on").out == large_);
  EXPECT_TRUE(cat("--lazy=off").out == large_);
}

TEST_F(OciLies, WrongBytesAreNeitherShownNorKept) {
  for (const Lie lie : {Lie::kBytes, Lie::kSize}) {
    lie_ = lie;
    const ProcessResult whole = cat("--lazy=off");
    EXPECT_FALSE(whole.ok());
    EXPECT_THAT(whole.err, HasSubstr("hash mismatch"));
    EXPECT_EQ(whole.out, "");
    fs::remove_all(checkouts());
  }
  lie_ = Lie::kBytes;
  const ProcessResult parts = cat("--lazy=on");
  EXPECT_FALSE(parts.ok()) << "the file has a stored hash";
  EXPECT_NE(parts.out, large_);
  EXPECT_FALSE(fs::exists(entry(file_sha256(container_))));
}

TEST_F(OciLies, WrongRangesLeadToADownload) {
  for (const Lie lie : {Lie::kRange, Lie::kWholeFile}) {
    lie_ = lie;
    EXPECT_TRUE(cat("--lazy=on").out == large_);
    fs::remove_all(checkouts());
  }
}

}  // namespace
}  // namespace pkgfs::test
