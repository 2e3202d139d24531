// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/base/unique_fd.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace pkgfs::test {

/// Why the test registry can't run here (a missing program, named with its Debian package); empty when it can.
[[nodiscard]] std::string registry_missing();

/// A fault of the registry. `where` and `match` select the requests that it concerns, `skip` and `times` say how many
/// of them get it. `latency_ms`, `rate` and `etag` can be combined with every kind; `kPlain` has only these.
struct Fault {
  enum class Kind {
    kPlain,  ///< the right answer
    // Instead of an answer.
    kStatus,        ///< `status` (500), `retry_after`, `body`
    kHtml,          ///< 200 and a page (`body`)
    kRedirect,      ///< `status` (302) to the same path at `location`, by default `other_authority()`
    kRedirectLoop,  ///< `status` (302) to itself
    kUnauthorized,  ///< 401 unless the bearer token is `token`
    kClose,         ///< the connection is closed without an answer
    // What GraphQL says. Those about a version can be aimed at one: `match` "acme/app@1.0.0".
    kGraphqlErrors,   ///< 200, no data, one error with the message `body`
    kGraphqlPartial,  ///< 200, the data without `info`, one error with the message `body`
    kNullPackage,     ///< getPackage and getPackageRelease are null
    kArchived,        ///< every version is archived
    kNullFields,      ///< distributions without URL, hash and manifest
    kBadManifest,     ///< webcManifest and piritaManifest aren't JSON
    kWrongHash,       ///< the first digit of piritaSha256Hash is another one
    kUrl,             ///< URLs of files are `location`
    kUnknownFields,   ///< fields that the query didn't ask for, at every level
    // How a body is sent.
    kTruncate,  ///< right Content-Length, closed after `after` bytes
    kStall,     ///< right Content-Length, nothing more after `after` bytes, but not closed
    kExcess,  ///< `after` bytes (at least 1) more than Content-Length says. nginx would cut them off, so files are then
              ///< announced at `direct_endpoint()`'s authority; GraphQL has to be asked there
    kEndless,  ///< chunks that never end: the body, then spaces
    kGzip,     ///< Content-Encoding: gzip, asked for or not, a range too (of the part); weak ETag
    // Of files only.
    kWrongBytes,   ///< the byte `after` of the file (0: the one in the middle) is another one
    kIgnoreRange,  ///< 200 with the whole file, for any range; no Accept-Ranges
    kLyingRange,   ///< 206 with the whole file and its Content-Range, for any range
    kWrongSlice,   ///< 206 with the Content-Range asked for and the first bytes of the file
    kRangeLie,     ///< the whole file is cut off at its half, and every range is answered with `lie`
  };
  enum class Where { kBoth, kGraphql, kFiles };
  enum class Etag {
    kNormal,   ///< as nginx makes it, with or without another fault
    kWeak,     ///< W/, so no If-Range matches it
    kNone,     ///< no ETag, no Last-Modified
    kChanges,  ///< another one on every request, no Last-Modified
  };

  enum class Lie {
    k416,         ///< 416, "the file has one byte"
    kOtherEtag,   ///< 206 with another ETag
    kNoRange,     ///< 206 without Content-Range
    kWrongRange,  ///< 206 with the Content-Range of the whole file
    kEmpty,       ///< 206 with the right Content-Range and no body
    kOneByte,     ///< 206 with one byte
  };

  Kind kind = Kind::kPlain;
  Where where = Where::kBoth;
  /// The package ("acme/app"), the version ("acme/app@1.0.0") or the hash it aims at; empty: all.
  std::string match = {};
  /// The number of matching requests that succeed before the fault begins.
  int skip = 0;
  /// The number of requests that then get the fault; 0: all.
  int times = 0;
  int status = 0;
  std::string retry_after = {};
  std::string body = {};
  /// Body bytes; counted from the first one of a range when a range is sent.
  std::uint64_t after = 0;
  std::string token = {};
  /// "http://host:port" for kRedirect, a whole URL for kUrl.
  std::string location = {};
  /// Before the answer.
  int latency_ms = 0;
  /// Body bytes a second; 0: as fast as it goes.
  std::uint64_t rate = 0;
  Etag etag = Etag::kNormal;
  Lie lie = Lie::k416;  ///< of kRangeLie
};

/// A registry as the real one is to its clients: GraphQL at `endpoint()`, containers as files behind nginx with ETag
/// and Range. All on loopback ports of its own, which stay reserved while it lives; the servers are gone with their
/// files after the destructor, and soon after a crash of the test too. Use from any thread.
///
/// The environment variable PKGFS_TEST_SERVER_DELAY_MS delays each answer without a fault for so long, and sends it in
/// small pieces.
///
/// Formats 1 and 2 are announced as distribution V2, format 3 as V3, with null fields for what there isn't. A version
/// in both formats (in two directories) has both. What has no namespace is known as "name" and "_/name".
class TestRegistry {
 public:
  enum class Tls { kOff, kValid, kWrongHost, kExpired, kSelfSigned };
  struct Options {
    /// Also serve https (with HTTP/2), at `tls_endpoint()`.
    Tls tls = Tls::kOff;
  };
  /// A request that came in. `status` is 0 while it is not answered, 499 when the client left before, 444 when it was
  /// left without an answer (`kClose`).
  struct Request {
    std::string method;
    std::string path;
    std::string query;
    std::string protocol;                        // "HTTP/1.1", "HTTP/2.0"
    std::map<std::string, std::string> headers;  // by lower-case name
    std::string body;
    int status = 0;
    std::uint64_t sent = 0;  // body bytes

    [[nodiscard]] bool is_graphql() const { return path == "/graphql"; }
    [[nodiscard]] bool is_file() const { return path.starts_with("/files/"); }
    /// Empty when there is none.
    [[nodiscard]] std::string header(const std::string& name) const;
  };

  /// Serves what `packages` have: registry directories (`<namespace>/<name>/<version>.webc`, or flat with the names
  /// from the manifests) and containers. Throws std::runtime_error when the servers don't start.
  explicit TestRegistry(const std::vector<std::filesystem::path>& packages);
  TestRegistry(const std::vector<std::filesystem::path>& packages, Options options);
  ~TestRegistry();
  TestRegistry(const TestRegistry&) = delete;
  TestRegistry& operator=(const TestRegistry&) = delete;

  /// "http://127.0.0.1:P/graphql". URLs of files have the scheme and authority under which GraphQL was asked.
  [[nodiscard]] std::string endpoint() const { return authority() + "/graphql"; }
  /// The same over https; only with `Options::tls`.
  [[nodiscard]] std::string tls_endpoint() const;
  /// The same without nginx in between, HTTP/1.1.
  [[nodiscard]] std::string direct_endpoint() const;
  /// "http://127.0.0.1:P", as tokens are kept by, and a second one that serves the same.
  [[nodiscard]] std::string authority() const;
  [[nodiscard]] std::string other_authority() const;
  /// The CA to trust for `kValid`.
  [[nodiscard]] std::filesystem::path ca_file() const { return directory_.path() / "ca.pem"; }

  /// The URL and hex hash of "acme/app@1.0.0", of "acme/app" when it has one version, or of a hash; V3 before V2.
  [[nodiscard]] std::string file_url(const std::string& package) const;
  [[nodiscard]] std::string sha256(const std::string& package) const;

  /// Everything that came in, in that order.
  [[nodiscard]] std::vector<Request> requests() const;
  void clear_requests();

  /// From now on only this goes wrong; of several, the first one that aims at a request and isn't used up.
  void set_fault(const Fault& fault) { set_faults({fault}); }
  void set_faults(const std::vector<Fault>& faults);
  void clear_faults() { set_faults({}); }

  /// Refuses connections at all but the direct endpoint; those that are open break. `start` undoes it.
  void stop();
  void start();

  /// Publishes one more container; without a name under its own.
  void add_package(const std::filesystem::path& container, const std::string& name = {},
                   const std::string& version = {});
  void archive(const std::string& name, const std::string& version);

  /// Of the server that runs all; it has nginx as its child.
  [[nodiscard]] pid_t pid() const { return process_->pid(); }
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_.path(); }

 private:
  /// A port that no other process gets. It is bound but doesn't listen: the kernel refuses connections until a server
  /// binds it too.
  struct Port {
    Port();
    UniqueFd reserved;
    int number = 0;
  };
  [[nodiscard]] nlohmann::ordered_json control(const nlohmann::ordered_json& command) const;
  [[nodiscard]] static std::string url(const char* scheme, const Port& port);

  Options options_;
  TempDir directory_;
  Port main_;
  Port other_;
  Port direct_;
  Port tls_;
  std::unique_ptr<Process> process_;
};

}  // namespace pkgfs::test
