// SPDX-License-Identifier: MIT
// Every root of every set in tests/fixtures/registry against what the two states of the reference made of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/resolve/resolve.h"
#include "core/source/local_registry_source.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

using nlohmann::json;

enum class Instead {
  kNewer,    // the result of 0.704 counts, although 0.28 has one
  kText,     // fails, and `text` is the outermost message
  kResolves  // succeeds; `text` is the topological order
};

/// docs/rules asks for something else than what the runtimes did. Everything else is compared with 0.28 where that
/// has a result, else with 0.704; errors with either.
struct Difference {
  const char* set;  // without the format
  const char* root;
  Instead instead;
  const char* text;
  const char* reason;
};

constexpr const char* kNoHash =
    "Unable to find \"sha256:abababababababababababababababababababababababababababababababab\" in the registry";

constexpr Difference kDifferences[] = {
    {"alias", "acme/byname@1.0.0", Instead::kText,
     "The \"acme/byname@1.0.0\" package maps a volume from \"acme/lib\", but that isn't one of its dependencies",
     "both runtimes panic; docs/rules/resolution.md, 5 gives the text"},
    {"alias", "acme/trans@1.0.0", Instead::kText,
     "The \"acme/trans@1.0.0\" package maps a volume from \"bb\", but that isn't one of its dependencies",
     "both runtimes panic; docs/rules/resolution.md, 5 gives the text"},
    {"fserr", "acme/noalias@1.0.0", Instead::kText,
     "The \"acme/noalias@1.0.0\" package maps a volume from \"ghost/dep\", but that isn't one of its dependencies",
     "both runtimes panic; docs/rules/resolution.md, 5 gives the text"},
    {"cycle", "acme/self@1.0.0", Instead::kText, "Dependency cycle detected: acme/self@1.0.0 \u2192 acme/self@1.0.0",
     "0.28 panics; docs/rules/resolution.md, 4.3 takes the text of the newer one"},
    {"identity", "acme/bad@1.0.0", Instead::kNewer, nullptr,
     "0.28 knows no sidecars; docs/rules/resolution.md, 7.6 checks them"},
    {"identity", "acme/usesbad@1.0.0", Instead::kNewer, nullptr,
     "0.28 knows no sidecars; docs/rules/resolution.md, 7.6 checks them"},
    {"identity", "acme/useshash@1.0.0", Instead::kResolves, "acme/useshash@1.0.0 acme/unnamed@1.0.0",
     "the runtimes take sha256:… for a URL; docs/rules/resolution.md, 3.2 resolves it as a hash"},
    {"identity", "acme/useshash2@1.0.0", Instead::kResolves, "acme/useshash2@1.0.0 acme/good@1.0.0",
     "the runtimes take sha256:… for a URL; docs/rules/resolution.md, 3.2 resolves it as a hash"},
    {"identity", "acme/nohash@1.0.0", Instead::kText, kNoHash,
     "the runtimes take sha256:… for a URL; docs/rules/resolution.md, 4.3 gives the text for an ident"},
};

/// Innermost causes that come from Rust's libraries, and what says the same here.
struct SameFact {
  const char* theirs;
  const char* ours;
};
constexpr SameFact kSameFacts[] = {
    {"failed to fill whole buffer", "the file ends inside the version"},
    {"Custom(\"invalid type: map, expected array\")", "invalid type: map, expected"},
};

std::string set_without_format(const std::string& set) {
  return set.ends_with("-v2") || set.ends_with("-v3") ? set.substr(0, set.size() - 3) : set;
}

const Difference* difference_of(const std::string& set, const std::string& root) {
  const auto at = std::find_if(std::begin(kDifferences), std::end(kDifferences),
                               [&](const Difference& d) { return set_without_format(set) == d.set && root == d.root; });
  return at == std::end(kDifferences) ? nullptr : at;
}

json to_json(const Resolution& resolution) {
  const auto id = [&](std::size_t node) { return resolution.graph.nodes[node].pkg.id.to_string(); };
  const auto optional = [](const std::optional<std::string>& text) { return text ? json(*text) : json(nullptr); };
  json out = {{"commands", json::object()},
              {"discovery_order", json::array()},
              {"edges", json::array()},
              {"filesystem", json::array()},
              {"topological_order", json::array()}};
  for (std::size_t node = 0; node < resolution.graph.nodes.size(); ++node) {
    out["discovery_order"].push_back(id(node));
    for (const auto& edge : resolution.graph.nodes[node].edges) {
      out["edges"].push_back({{"alias", edge.alias}, {"from", id(node)}, {"to", id(edge.target)}});
    }
  }
  for (const std::size_t node : resolution.order) {
    out["topological_order"].push_back(id(node));
  }
  for (const auto& [name, command] : resolution.package.commands) {
    out["commands"][name] = {{"name", command.name}, {"package", command.package.to_string()}};
  }
  for (const auto& mapping : resolution.package.filesystem) {
    out["filesystem"].push_back({{"mount_path", mapping.mount_path},
                                 {"original_path", optional(mapping.original_path)},
                                 {"package", mapping.package.to_string()},
                                 {"volume_name", mapping.volume_name}});
  }
  out["entrypoint"] = optional(resolution.package.entrypoint);
  out["root_package"] = resolution.package.root.to_string();
  return out;
}

struct Outcome {
  std::optional<json> resolution;
  std::vector<std::string> error;
};

Outcome resolve_root(const std::filesystem::path& registry, const std::string& root) {
  LocalRegistrySource source(registry.string());
  try {
    const PackageSummary summary = query_latest(source, PackageSpecifier::parse(root));
    return {to_json(resolve(summary.pkg, source)), {}};
  } catch (const Error& error) {
    std::vector<std::string> chain = error.chain();
    for (std::string& text : chain) {
      for (std::size_t at = text.find(registry.string()); at != std::string::npos; at = text.find(registry.string())) {
        text.replace(at, registry.string().size(), "<ROOT>");
      }
    }
    return {std::nullopt, chain};
  }
}

std::string joined(const std::vector<std::string>& chain) {
  std::string text;
  for (const std::string& part : chain) {
    text += part + "\n";
  }
  return text;
}

/// Expects that the chain of messages `ours` begins like one of Wasmer's chains in `theirs`, and contains the fact that
/// the last message of that chain gives.
void expect_same_error(const std::vector<std::string>& ours, const std::vector<std::vector<std::string>>& theirs) {
  ASSERT_FALSE(ours.empty()) << "resolved, but should fail: " << joined(theirs.front());
  std::string expected;
  for (const auto& chain : theirs) {
    std::string innermost = chain.back();
    for (const SameFact& same : kSameFacts) {
      if (const auto at = innermost.find(same.theirs); at != std::string::npos) {
        innermost.replace(at, std::string(same.theirs).size(), same.ours);
      }
    }
    if (ours.front() == chain.front() && joined(ours).find(innermost) != std::string::npos) {
      return;
    }
    expected += chain.front() + "\n  … " + innermost + "\n";
  }
  ADD_FAILURE() << "ours:\n" << joined(ours) << "theirs:\n" << expected;
}

std::vector<std::string> roots_of(const std::string& set) {
  const auto file = read_json(fixtures() / "registry" / set / "roots.json");
  std::vector<std::string> roots;
  for (const auto& root : file["roots"]) {
    roots.push_back(root["root"]);
  }
  EXPECT_FALSE(roots.empty());
  return roots;
}

class GoldenSet : public testing::TestWithParam<std::string> {
 protected:
  [[nodiscard]] std::filesystem::path registry() const { return fixtures() / "registry" / GetParam(); }
  [[nodiscard]] nlohmann::ordered_json golden(const std::string& runtime) const {
    return read_json(fixtures() / "trees/registry" / (GetParam() + ".wasix-" + runtime + ".json"));
  }
  [[nodiscard]] std::vector<std::string> roots() const { return roots_of(GetParam()); }
};

class Golden : public GoldenSet {};
class Expected : public GoldenSet {};

TEST_P(Golden, Resolution) {
  const auto older = golden("0.28");
  const auto newer = golden("0.704");
  for (const std::string& root : roots()) {
    SCOPED_TRACE(root);
    ASSERT_TRUE(older.contains(root) && newer.contains(root));
    const Outcome ours = resolve_root(registry(), root);
    const Difference* difference = difference_of(GetParam(), root);
    if (difference != nullptr && difference->instead == Instead::kText) {
      EXPECT_EQ(ours.error.empty() ? "(no error)" : ours.error.front(), difference->text) << difference->reason;
      continue;
    }
    if (difference != nullptr && difference->instead == Instead::kResolves) {
      std::string order;
      for (const auto& id : ours.resolution.value_or(json::object()).value("topological_order", json::array())) {
        order += (order.empty() ? "" : " ") + id.get<std::string>();
      }
      EXPECT_EQ(order, difference->text) << difference->reason << "\n" << joined(ours.error);
      continue;
    }
    const bool only_newer = difference != nullptr;
    if (!only_newer && older[root].contains("resolution")) {
      EXPECT_EQ(ours.resolution.value_or(json()), json(older[root]["resolution"])) << joined(ours.error);
    } else if (newer[root].contains("resolution")) {
      EXPECT_EQ(ours.resolution.value_or(json()), json(newer[root]["resolution"])) << joined(ours.error);
    } else {
      std::vector<std::vector<std::string>> errors;
      for (const auto* runtime : {&newer, &older}) {
        if ((*runtime)[root].contains("error")) {
          errors.push_back((*runtime)[root]["error"]);
        }
      }
      ASSERT_FALSE(errors.empty());
      expect_same_error(ours.error, errors);
    }
  }
}

TEST_P(Expected, Filesystem) {
  const auto expected = read_json(fixtures() / "expected" / (GetParam() + ".json"));
  for (const auto& [root, facts] : expected.items()) {
    SCOPED_TRACE(root);
    if (facts.contains("filesystem")) {
      EXPECT_EQ(resolve_root(registry(), root).resolution.value_or(json::object())["filesystem"],
                json(facts["filesystem"]));
    } else if (facts.contains("resolution_fails")) {
      const Difference* difference = difference_of(GetParam(), root);
      const bool resolves = difference != nullptr && difference->instead == Instead::kResolves;
      EXPECT_EQ(resolve_root(registry(), root).error.empty(), resolves);
    }
  }
}

std::vector<std::string> sets() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures() / "registry")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> sets_with_expectation() {
  std::vector<std::string> names = sets();
  std::erase(names, "stubs");  // only there to be depended upon
  return names;
}

std::string test_name(const testing::TestParamInfo<std::string>& param) {
  std::string name = param.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Registry, Golden, testing::ValuesIn(sets()), test_name);
INSTANTIATE_TEST_SUITE_P(Registry, Expected, testing::ValuesIn(sets_with_expectation()), test_name);

TEST(GoldenTable, EachDifferenceIsUsed) {
  std::vector<const Difference*> used;
  for (const std::string& set : sets()) {
    for (const std::string& root : roots_of(set)) {
      used.push_back(difference_of(set, root));
    }
  }
  for (const Difference& difference : kDifferences) {
    EXPECT_NE(std::find(used.begin(), used.end(), &difference), used.end()) << difference.set << difference.root;
  }
}

}  // namespace
}  // namespace pkgfs::test
