// SPDX-License-Identifier: MIT
#include "tests/support/slow_proxy/slow_proxy.h"

#include <stdexcept>

#include <nlohmann/json.hpp>

#include "tests/support/http.h"

namespace pkgfs::test {
namespace {

/// "127.0.0.1:P" of a URL.
std::string address_of(const std::string& server) {
  const std::size_t scheme = server.find("://");
  const std::string rest = scheme == std::string::npos ? server : server.substr(scheme + 3);
  return rest.substr(0, rest.find('/'));
}

}  // namespace

SlowProxy::SlowProxy(const std::string& server, Options options)
    : process_({SLOW_PROXY, "--to", address_of(server), "--rtt-ms", std::to_string(options.rtt.count()), "--mbit",
                std::to_string(options.mbit), "--control", control()},
               {.timeout = std::chrono::hours(1)}) {
  if (!eventually([this] { return process_.out().ends_with('\n'); })) {
    throw std::runtime_error("the slow proxy doesn't start: " + process_.err());
  }
  port_ = std::stoi(process_.out());
}

std::string SlowProxy::ask(const std::string& line) const { return talk("unix:" + control(), line + "\n"); }

void SlowProxy::command(const std::string& line) const {
  if (const std::string answer = ask(line); answer != "ok\n") {
    throw std::runtime_error("the slow proxy doesn't obey \"" + line + "\": " + answer);
  }
}

SlowProxy::Counts SlowProxy::counts() const {
  const auto json = nlohmann::json::parse(ask("counts"));
  return {.connections = json.at("connections"),
          .open = json.at("open"),
          .most_open = json.at("most_open"),
          .waiting = json.at("waiting"),
          .up = json.at("up"),
          .down = json.at("down")};
}

}  // namespace pkgfs::test
