// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/net/http.h"
#include "core/source/graphql.h"
#include "core/source/query_cache.h"
#include "core/source/source.h"

namespace pkgfs {

/// A Wasmer registry: names and hashes by GraphQL (docs/rules/resolution.md, 7.1), with its answers kept on disk. A
/// registry that can't be reached, or answers nonsense, is replaced by what it said earlier, however long ago, with a
/// warning that gives the age. Each name and hash is asked for once; many are asked at the same time.
class BackendSource final : public Source {
 public:
  struct Options {
    std::string endpoint;
    std::optional<std::string> token;
    graphql::Prefer prefer = graphql::Prefer::kV3;
    std::chrono::seconds cache_time{600};  // how long an answer is believed without asking again
    bool offline = false;                  // never ask
  };

  /// What is passed in must outlive this. `client` may be null when offline.
  BackendSource(Options options, HttpClient* client, QueryCache cache, const CancelFlag& cancel);
  ~BackendSource() override;

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;
  [[nodiscard]] std::vector<Answer> query_all(std::span<const PackageSource> specifiers) override;

 private:
  struct Known;

  [[nodiscard]] std::vector<PackageSummary> by_name(const PackageSource& specifier, const CancelFlag& cancel);
  [[nodiscard]] std::vector<PackageSummary> by_hash(const PackageSource& specifier, const CancelFlag& cancel);
  [[nodiscard]] std::vector<PackageSummary> query_one(const PackageSource& specifier, const CancelFlag& cancel);
  [[nodiscard]] Known& known(const std::string& full_name);
  void look_up(Known& known, const std::string& full_name, bool believe_cache, const CancelFlag& cancel);
  /// Remembers that the registry is of no use; whether that is news.
  [[nodiscard]] bool is_first_failure(const Error& error);
  /// `has_substitute`: somebody waits who could go on without an answer.
  [[nodiscard]] webc::Json ask(std::string body, bool has_substitute, const CancelFlag& cancel);

  Options options_;
  HttpClient* client_;
  QueryCache cache_;
  const CancelFlag& cancel_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Known>> known_;  // by full name
  std::optional<Error> unreachable_;                     // why the registry isn't asked any more in this run
};

}  // namespace pkgfs
