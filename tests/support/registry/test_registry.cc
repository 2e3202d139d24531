// SPDX-License-Identifier: MIT
#include "tests/support/registry/test_registry.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "tests/support/fixtures.h"

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace pkgfs::test {

namespace {

// Debian's own: another Python first in PATH doesn't have its packages. nginx isn't in the PATH of plain users.
constexpr const char* kPython = "/usr/bin/python3";
constexpr const char* kNginx = "/usr/sbin/nginx";

const char* kind_name(Fault::Kind kind) {
  using Kind = Fault::Kind;
  switch (kind) {
    case Kind::kPlain:
      return "plain";
    case Kind::kStatus:
      return "status";
    case Kind::kHtml:
      return "html";
    case Kind::kRedirect:
      return "redirect";
    case Kind::kRedirectLoop:
      return "redirect_loop";
    case Kind::kUnauthorized:
      return "unauthorized";
    case Kind::kClose:
      return "close";
    case Kind::kGraphqlErrors:
      return "graphql_errors";
    case Kind::kGraphqlPartial:
      return "graphql_partial";
    case Kind::kNullPackage:
      return "null_package";
    case Kind::kArchived:
      return "archived";
    case Kind::kNullFields:
      return "null_fields";
    case Kind::kBadManifest:
      return "bad_manifest";
    case Kind::kWrongHash:
      return "wrong_hash";
    case Kind::kUrl:
      return "url";
    case Kind::kUnknownFields:
      return "unknown_fields";
    case Kind::kTruncate:
      return "truncate";
    case Kind::kStall:
      return "stall";
    case Kind::kExcess:
      return "excess";
    case Kind::kEndless:
      return "endless";
    case Kind::kGzip:
      return "gzip";
    case Kind::kWrongBytes:
      return "wrong_bytes";
    case Kind::kIgnoreRange:
      return "ignore_range";
    case Kind::kLyingRange:
      return "lying_range";
    case Kind::kWrongSlice:
      return "wrong_slice";
    case Kind::kRangeLie:
      return "range_lie";
  }
  return "";
}

const char* where_name(Fault::Where where) {
  switch (where) {
    case Fault::Where::kBoth:
      return "both";
    case Fault::Where::kGraphql:
      return "graphql";
    case Fault::Where::kFiles:
      return "files";
  }
  return "";
}

const char* etag_name(Fault::Etag etag) {
  switch (etag) {
    case Fault::Etag::kNormal:
      return "normal";
    case Fault::Etag::kWeak:
      return "weak";
    case Fault::Etag::kNone:
      return "none";
    case Fault::Etag::kChanges:
      return "changes";
  }
  return "";
}

const char* lie_name(Fault::Lie lie) {
  switch (lie) {
    case Fault::Lie::k416:
      return "416";
    case Fault::Lie::kOtherEtag:
      return "other_etag";
    case Fault::Lie::kNoRange:
      return "no_range";
    case Fault::Lie::kWrongRange:
      return "wrong_range";
    case Fault::Lie::kEmpty:
      return "empty";
    case Fault::Lie::kOneByte:
      return "one_byte";
  }
  return "";
}

/// Empty: plain http only.
const char* tls_name(TestRegistry::Tls tls) {
  switch (tls) {
    case TestRegistry::Tls::kOff:
      return "";
    case TestRegistry::Tls::kValid:
      return "valid";
    case TestRegistry::Tls::kWrongHost:
      return "wrong_host";
    case TestRegistry::Tls::kExpired:
      return "expired";
    case TestRegistry::Tls::kSelfSigned:
      return "self_signed";
  }
  return "";
}

Json to_json(const Fault& fault) {
  return {{"kind", kind_name(fault.kind)},
          {"where", where_name(fault.where)},
          {"match", fault.match},
          {"skip", fault.skip},
          {"times", fault.times},
          {"status", fault.status},
          {"retry_after", fault.retry_after},
          {"body", fault.body},
          {"after", fault.after},
          {"token", fault.token},
          {"location", fault.location},
          {"latency_ms", fault.latency_ms},
          {"rate", fault.rate},
          {"etag", etag_name(fault.etag)},
          {"lie", lie_name(fault.lie)}};
}

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error("test registry: " + what + ": " + std::strerror(errno));
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// POSTs and answers the body of the reply; the other side closes after it.
std::string post(int port, const std::string& path, const std::string& body) {
  const UniqueFd connection(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{.tv_sec = 60, .tv_usec = 0};
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const sockaddr_in address = loopback(port);
  if (::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fail("connect");
  }
  const std::string request =
      "POST " + path + " HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  for (std::size_t at = 0; at < request.size();) {
    const ssize_t count = ::send(connection.get(), request.data() + at, request.size() - at, MSG_NOSIGNAL);
    if (count < 0) {
      fail("send");
    }
    at += static_cast<std::size_t>(count);
  }
  std::string reply;
  std::vector<char> block(64 << 10);
  ssize_t count = 0;
  while ((count = ::recv(connection.get(), block.data(), block.size(), 0)) > 0) {
    reply.append(block.data(), static_cast<std::size_t>(count));
  }
  if (count < 0) {
    fail("recv");
  }
  const std::size_t head = reply.find("\r\n\r\n");
  return head == std::string::npos ? std::string() : reply.substr(head + 4);
}

/// Without reaping it, so `Process` still can.
bool has_ended(pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid;
}

}  // namespace

std::string registry_missing() {
  static const std::string missing = [] {
    if (::access(kNginx, X_OK) != 0) {
      return "no nginx (Debian: nginx-light)";
    }
    // To look for the module is faster than to import it.
    if (!run({kPython, "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('graphql') is None)"})
             .ok()) {
      return "no graphql module for /usr/bin/python3 (Debian: python3-graphql-core)";
    }
    return "";
  }();
  return missing;
}

std::string TestRegistry::Request::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

TestRegistry::Port::Port() : reserved(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  // Both sides set SO_REUSEADDR, as servers do: then only a socket that listens keeps others away.
  const int on = 1;
  ::setsockopt(reserved.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  if (::bind(reserved.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::getsockname(reserved.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    fail("no free port");
  }
  number = ntohs(address.sin_port);
}

TestRegistry::TestRegistry(const std::vector<fs::path>& packages) : TestRegistry(packages, Options{}) {}

TestRegistry::TestRegistry(const std::vector<fs::path>& packages, Options options) : options_(options) {
  Json settings = {{"directory", directory_.path()},
                   {"owner", ::getpid()},
                   {"nginx", kNginx},
                   {"tls", tls_name(options_.tls)},
                   {"packages", Json::array()}};
  settings["ports"] = {
      {"main", main_.number}, {"other", other_.number}, {"direct", direct_.number}, {"tls", tls_.number}};
  for (const fs::path& package : packages) {
    settings["packages"].push_back(fs::absolute(package));
  }
  const fs::path program = source_directory() / "tests/support/registry/server.py";
  // -B: no __pycache__ in the source tree.
  process_ = std::make_unique<Process>(Arguments{kPython, "-B", "-s", program, settings.dump()},
                                       ProcessOptions{.timeout = std::chrono::seconds(10)});
  const bool known = eventually([this] { return process_->out() == "ready\n" || has_ended(process_->pid()); },
                                std::chrono::seconds(60));
  if (!known || process_->out() != "ready\n") {
    throw std::runtime_error("test registry doesn't start: " + process_->out() + process_->err());
  }
}

TestRegistry::~TestRegistry() {
  process_->signal(SIGTERM);  // so that it reaps nginx
  process_->wait();
}

std::string TestRegistry::url(const char* scheme, const Port& port) {
  return std::string(scheme) + "://127.0.0.1:" + std::to_string(port.number);
}

std::string TestRegistry::authority() const { return url("http", main_); }
std::string TestRegistry::other_authority() const { return url("http", other_); }
std::string TestRegistry::direct_endpoint() const { return url("http", direct_) + "/graphql"; }

std::string TestRegistry::tls_endpoint() const {
  if (options_.tls == Tls::kOff) {
    throw std::logic_error("test registry: started without TLS");
  }
  return url("https", tls_) + "/graphql";
}

Json TestRegistry::control(const Json& command) const {
  const Json reply = Json::parse(post(direct_.number, "/_control", command.dump()));
  if (reply.contains("error")) {
    throw std::runtime_error("test registry: " + reply.at("error").get<std::string>());
  }
  return reply.at("ok");
}

std::string TestRegistry::file_url(const std::string& package) const {
  return authority() + control({{"do", "find"}, {"name", package}}).at("path").get<std::string>();
}

std::string TestRegistry::sha256(const std::string& package) const {
  return control({{"do", "find"}, {"name", package}}).at("sha256");
}

std::vector<TestRegistry::Request> TestRegistry::requests() const {
  std::vector<Request> found;
  for (const Json& entry : control({{"do", "requests"}})) {
    found.push_back({.method = entry.at("method"),
                     .path = entry.at("path"),
                     .query = entry.at("query"),
                     .protocol = entry.at("protocol"),
                     .headers = entry.at("headers"),
                     .body = entry.at("body"),
                     .status = entry.at("status"),
                     .sent = entry.at("sent")});
  }
  return found;
}

void TestRegistry::clear_requests() { (void)control({{"do", "clear"}}); }

void TestRegistry::set_faults(const std::vector<Fault>& faults) {
  Json all = Json::array();
  for (const Fault& fault : faults) {
    all.push_back(to_json(fault));
  }
  (void)control({{"do", "faults"}, {"faults", all}});
}

void TestRegistry::stop() { (void)control({{"do", "stop"}}); }
void TestRegistry::start() { (void)control({{"do", "start"}}); }

void TestRegistry::add_package(const fs::path& container, const std::string& name, const std::string& version) {
  (void)control({{"do", "add"}, {"path", fs::absolute(container)}, {"name", name}, {"version", version}});
}

void TestRegistry::archive(const std::string& name, const std::string& version) {
  (void)control({{"do", "archive"}, {"name", name}, {"version", version}});
}

}  // namespace pkgfs::test
