// SPDX-License-Identifier: MIT
#include "tests/net/oci_registry.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "core/base/hash.h"
#include "tests/support/patterns.h"

namespace pkgfs::test {
namespace {

/// The line of kUser and kPassword that "htpasswd -B" makes.
constexpr const char* kLogins = "alice:$2y$05$n9QK7G1I9O50Am2XShasZuWPfJWsBUWpV0p7h4ol/kdUV0CnzLa7e\n";

constexpr const char* kProbe = "/v2/";

std::string base64(const std::string& text) {
  return base64_encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace

int free_port() {
  const UniqueFd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(probe.get(), any, length) != 0 || ::getsockname(probe.get(), any, &length) != 0) {
    throw std::runtime_error("no port is free");
  }
  return ntohs(address.sin_port);
}

std::string oci_registry_missing() {
  return have_program("docker-registry") ? "" : "docker-registry isn't installed (Debian package docker-registry)";
}

OciRegistry::OciRegistry(Options options)
    : port_(free_port()),
      has_tls_(options.tls),
      address_(std::move(options.address)),
      enter_(std::move(options.enter)) {
  directory_.write("logins", kLogins);
  if (has_tls_) {
    const ProcessResult made = shell(
        "cd " + directory_.path().string() +
        " && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out ca.pem"
        " -days 2 -subj /CN=server -addext subjectAltName=DNS:localhost,IP:127.0.0.1" +
        (address_.empty() ? "" : ",IP:" + address_));
    if (!made.ok()) {
      throw std::runtime_error(made.describe());
    }
  }
  write_settings(options.redirect);
  start();
}

std::string OciRegistry::host() const {
  return (address_.empty() ? "localhost" : address_) + ":" + std::to_string(port_);
}

Arguments OciRegistry::there(Arguments command) const {
  command.insert(command.begin(), enter_.begin(), enter_.end());
  return command;
}

void OciRegistry::redirect_to(const std::string& url) {
  write_settings(url);
  stop();
  start();
}

void OciRegistry::write_settings(const std::string& redirect) const {
  const std::string directory = directory_.path().string();
  std::string settings = "version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: " + directory +
                         "/data}\nhttp:\n  addr: " + (address_.empty() ? "127.0.0.1" : address_) + ":" +
                         std::to_string(port_) + "\n";
  if (has_tls_) {
    settings += "  tls: {certificate: " + directory + "/ca.pem, key: " + directory + "/server.key}\n";
    settings += "auth:\n  htpasswd: {realm: test, path: " + directory + "/logins}\n";
  }
  if (!redirect.empty()) {
    settings += "middleware:\n  storage:\n    - name: redirect\n      options: {baseurl: " + redirect + "}\n";
  }
  directory_.write("config.yml", settings);
}

void OciRegistry::start() {
  seen_ = 0;
  process_ = std::make_unique<Process>(there({"docker-registry", "serve", (directory_.path() / "config.yml").string()}),
                                       ProcessOptions{.environment = {{"OTEL_SDK_DISABLED", "true"}}});
  const std::string scheme = has_tls_ ? "https" : "http";
  const auto answers = [&] {
    return run(there({"curl", "-s", "-k", "-o", "/dev/null", scheme + "://" + host() + "/v2/"})).ok();
  };
  if (!eventually(answers, std::chrono::seconds(20))) {
    throw std::runtime_error("docker-registry doesn't start: " + process_->err());
  }
  clear();
}

void OciRegistry::stop() {
  process_->signal(SIGKILL);
  (void)process_->wait();
  process_.reset();
}

std::string OciRegistry::login_file(const std::string& password) const {
  return directory_
      .write("auth-" + password + ".json",
             R"({"auths": {")" + host() + R"(": {"auth": ")" + base64(std::string(kUser) + ":" + password) + "\"}}}")
      .string();
}

std::vector<std::pair<std::string, std::string>> OciRegistry::environment() const {
  if (!has_tls_) {
    return {};
  }
  return {{"SSL_CERT_FILE", ca_file()}, {"REGISTRY_AUTH_FILE", login_file()}};
}

std::vector<OciRegistry::Request> OciRegistry::all_requests() const {
  std::vector<Request> found;
  std::istringstream lines(process_->out());
  for (std::string line; std::getline(lines, line);) {
    const auto parts = find_groups(line, R"re("([A-Z]+) (\S+) HTTP/[0-9.]+" ([0-9]+) ([0-9]+))re");
    if (!parts.empty()) {
      found.push_back(
          {.method = parts[1], .path = parts[2], .status = std::stoi(parts[3]), .sent = std::stoull(parts[4])});
    }
  }
  return found;
}

std::vector<OciRegistry::Request> OciRegistry::new_requests() const {
  std::vector<Request> all = all_requests();
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(seen_, all.size())));
  return all;
}

std::vector<OciRegistry::Request> OciRegistry::requests() const {
  std::vector<Request> found = new_requests();
  std::erase_if(found, [](const Request& request) { return request.path == kProbe; });
  return found;
}

std::size_t OciRegistry::probes() const {
  const auto found = new_requests();
  return static_cast<std::size_t>(std::ranges::count(found, std::string(kProbe), &Request::path));
}

void OciTest::SetUp() {
  NetTest::SetUp();
  for (const std::string& why : {fuse_missing(), oci_registry_missing()}) {
    if (!why.empty()) {
      GTEST_SKIP() << why;
    }
  }
  registry_ = std::make_unique<OciRegistry>();
}

std::vector<std::pair<std::string, std::string>> OciTest::variables() const {
  auto all = environment();
  for (const auto& [name, value] : registry_->environment()) {
    std::erase_if(all, [&, known = name](const auto& other) { return other.first == known; });
    all.emplace_back(name, value);
  }
  return all;
}

std::string OciTest::push(const std::string& package, const std::string& to, Arguments more) const {
  more.insert(more.begin(), "push");
  more.insert(more.end(), {package, registry_->url(to)});
  const ProcessResult pushed = oci(more);
  EXPECT_TRUE(pushed.ok()) << pushed.describe();
  return pushed.out.substr(0, pushed.out.find('\n'));
}

}  // namespace pkgfs::test
