// SPDX-License-Identifier: MIT
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/resolve/resolve.h"
#include "core/source/memory_source.h"

namespace pkgfs::test {

/// `ns/name@1.2.3`.
inline PackageId named_id(std::string_view text) {
  const std::size_t at = text.rfind('@');
  return NamedId{std::string(text.substr(0, at)), Version::parse(text.substr(at + 1))};
}

/// A package that is put together in a test.
class TestPackage {
 public:
  explicit TestPackage(PackageId id) : info_{std::move(id), {}, {}, {}, {}} {}

  /// Depends on `specifier` under `alias`, by default the text before its `@`.
  TestPackage& dep(const std::string& specifier, std::string alias = {}) {
    if (alias.empty()) {
      alias = specifier.substr(0, specifier.find('@'));
    }
    info_.dependencies.push_back({std::move(alias), PackageSpecifier::parse(specifier)});
    return *this;
  }
  TestPackage& command(std::string name) {
    info_.commands.push_back(std::move(name));
    return *this;
  }
  TestPackage& entrypoint(std::string name) {
    info_.entrypoint = std::move(name);
    return *this;
  }
  TestPackage& fs(std::string volume, std::string mount, std::optional<std::string> from = std::nullopt,
                  std::optional<std::string> original = std::nullopt) {
    info_.filesystem.push_back({std::move(volume), std::move(mount), std::move(original), std::move(from)});
    return *this;
  }
  TestPackage& url(std::string url) {
    url_ = std::move(url);
    return *this;
  }
  TestPackage& hash(std::string_view content) {
    hash_ = sha256(content);
    return *this;
  }

  [[nodiscard]] const PackageInfo& info() const { return info_; }
  [[nodiscard]] PackageSummary summary() const {
    return {info_, {url_.value_or("http://example.com/" + info_.id.to_string()), std::nullopt, hash_}};
  }

 private:
  PackageInfo info_;
  std::optional<Sha256> hash_;
  std::optional<std::string> url_;
};

/// A registry in memory that counts what it is asked.
class TestRegistry final : public Source {
 public:
  /// Adds a package, to be completed before the next query.
  TestPackage& add(std::string_view id) {
    source_.reset();
    return packages_.emplace_back(named_id(id));
  }

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override {
    ++asked[specifier.to_string()];
    if (const auto at = broken.find(specifier.to_string()); at != broken.end()) {
      throw QueryError(specifier, Error(ErrorCode::kIo, at->second));
    }
    if (const auto at = elsewhere.find(specifier.to_string()); at != elsewhere.end()) {
      return {at->second.summary()};
    }
    if (!source_) {
      source_.emplace();
      for (const TestPackage& package : packages_) {
        source_->add(package.summary());
      }
    }
    return source_->query(specifier);
  }

  /// Resolves the tree below the newest package that `root` names.
  [[nodiscard]] Resolution resolve(std::string_view root) {
    return pkgfs::resolve(query_latest(*this, PackageSpecifier::parse(root)).pkg, *this);
  }

  std::map<std::string, int> asked;
  std::map<std::string, std::string> broken;     // specifier -> what is wrong
  std::map<std::string, TestPackage> elsewhere;  // URL -> the package there

 private:
  std::deque<TestPackage> packages_;
  std::optional<MemorySource> source_;
};

/// The chain of the error that `call` throws; empty when it doesn't throw.
template <typename F>
std::vector<std::string> error_chain(F&& call) {
  try {
    static_cast<void>(call());
  } catch (const Error& error) {
    return error.chain();
  }
  return {};
}

template <typename F>
std::string error_text(F&& call) {
  const auto chain = error_chain(std::forward<F>(call));
  return chain.empty() ? "(no error)" : chain.front();
}

/// Ids of all nodes in discovery order.
inline std::vector<std::string> ids(const Resolution& resolution) {
  std::vector<std::string> out;
  for (const auto& node : resolution.graph.nodes) {
    out.push_back(node.pkg.id.to_string());
  }
  return out;
}

inline std::vector<std::string> topological_ids(const Resolution& resolution) {
  std::vector<std::string> out;
  for (const std::size_t node : resolution.order) {
    out.push_back(resolution.graph.nodes[node].pkg.id.to_string());
  }
  return out;
}

}  // namespace pkgfs::test
