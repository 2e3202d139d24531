// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/support/process.h"
#include "tests/support/registry/test_registry.h"

namespace pkgfs::test {

/// What the curl program got.
struct Reply {
  int exit_code = -1;
  int status = 0;
  std::map<std::string, std::string> headers;  // of the last answer, by lower-case name
  std::string body;
  std::string error;

  [[nodiscard]] std::string header(const std::string& name) const;
  [[nodiscard]] nlohmann::ordered_json json() const;
  [[nodiscard]] std::string describe() const;
};

/// Runs curl with these arguments; twenty seconds are its end (exit code 28).
[[nodiscard]] Reply curl(const Arguments& arguments);
/// POSTs a GraphQL request, or only a query.
[[nodiscard]] Reply post(const std::string& endpoint, const nlohmann::ordered_json& body, const Arguments& more = {});
[[nodiscard]] Reply ask(const std::string& endpoint, const std::string& query, const Arguments& more = {});
/// The query texts of the reference client.
[[nodiscard]] std::string by_name(const std::string& name);
[[nodiscard]] std::string by_hash(const std::string& hash);

/// How many of these still run; zombies don't.
[[nodiscard]] int processes_alive(const std::vector<pid_t>& processes);

/// Skips where there is no test registry.
class RegistryTest : public ::testing::Test {
 protected:
  void SetUp() override;

  const std::filesystem::path chain_ = fixtures() / "registry/chain-v3";
};

}  // namespace pkgfs::test
