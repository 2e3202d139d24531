// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/net/net.h"
#include "tests/support/process.h"

namespace pkgfs::test {

/// Why Debian's OCI registry can't run here; empty if it can.
[[nodiscard]] std::string oci_registry_missing();

/// Debian's docker-registry on this machine. With `Options::tls`, it has a certificate of a CA of its own, and a login.
class OciRegistry {
 public:
  static constexpr const char* kUser = "alice";
  static constexpr const char* kPassword = "correct-horse";

  struct Options {
    bool tls = true;  // and a login
    std::string redirect =
        {};                    // where it sends clients for blobs: the beginning of a URL; empty: it serves them itself
    std::string address = {};  // where it listens, an IPv4 address; empty: localhost
    Arguments enter = {};      // the words before each of its commands, which lead to the machine with that address
  };
  struct Request {
    std::string method;
    std::string path;
    int status = 0;
    std::uint64_t sent = 0;  // body bytes
  };

  OciRegistry() : OciRegistry(Options()) {}
  /// Throws std::runtime_error when it doesn't start.
  explicit OciRegistry(Options options);
  OciRegistry(const OciRegistry&) = delete;
  OciRegistry& operator=(const OciRegistry&) = delete;

  /// `localhost:PORT`, or the address and port.
  [[nodiscard]] std::string host() const;
  /// `oci://HOST/NAME`.
  [[nodiscard]] std::string url(const std::string& name) const { return "oci://" + host() + "/" + name; }
  /// Where its blobs are, as a server to which it redirects has to serve them.
  [[nodiscard]] std::string data() const { return (directory_.path() / "data").string(); }
  [[nodiscard]] std::string key_file() const { return (directory_.path() / "server.key").string(); }
  [[nodiscard]] std::string ca_file() const { return (directory_.path() / "ca.pem").string(); }
  /// A file with the login, as `docker login` writes it.
  [[nodiscard]] std::string login_file(const std::string& password = kPassword) const;
  /// The variables that make pkgfs trust the registry and log in.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> environment() const;

  /// What was answered since the last `clear`, in that order. Without questions whether it has https.
  [[nodiscard]] std::vector<Request> requests() const;
  /// How often it was asked since then whether it has https, as far as it has understood the question.
  [[nodiscard]] std::size_t probes() const;
  void clear() { seen_ = all_requests().size(); }
  /// Starts anew, and redirects from now on (Options::redirect).
  void redirect_to(const std::string& url);
  void stop();
  void start();

 private:
  [[nodiscard]] std::vector<Request> all_requests() const;
  [[nodiscard]] std::vector<Request> new_requests() const;  // since the last `clear`
  void write_settings(const std::string& redirect) const;
  [[nodiscard]] Arguments there(Arguments command) const;  // as it is run on the registry's machine

  TempDir directory_;
  int port_ = 0;
  bool has_tls_;
  std::string address_;
  Arguments enter_;
  std::size_t seen_ = 0;
  std::unique_ptr<Process> process_;
};

/// Runs pkgfs with a registry.
class OciTest : public NetTest {
 protected:
  void SetUp() override;
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> variables() const;
  [[nodiscard]] ProcessResult oci(const Arguments& arguments) const {
    return pkgfs(arguments, registry_->environment());
  }
  /// `pkgfs push`; returns the name with the digest, without the line break.
  [[nodiscard]] std::string push(const std::string& package, const std::string& to, Arguments more = {}) const;

  std::unique_ptr<OciRegistry> registry_;
};

/// A port of this machine on which nothing listens now.
[[nodiscard]] int free_port();

}  // namespace pkgfs::test
