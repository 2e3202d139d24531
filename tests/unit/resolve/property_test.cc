// SPDX-License-Identifier: MIT
// What must hold for any registry: checked on random ones against a brute-force search.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "tests/support/fixtures.h"
#include "tests/unit/resolve/builder.h"

namespace pkgfs::test {
namespace {

struct Shape {
  std::vector<TestPackage> packages;
};

std::string name_of(unsigned i) { return "p" + std::to_string(i); }

Shape random_registry(std::mt19937& random) {
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  Shape shape;
  const unsigned names = 2 + below(4);
  for (unsigned i = 0; i < names; ++i) {
    const unsigned versions = i == 0 ? 1 : 1 + below(3);
    for (unsigned v = 1; v <= versions; ++v) {
      TestPackage package(named_id(name_of(i) + "@" + std::to_string(v) + ".0.0"));
      for (unsigned d = below(4); d > 0; --d) {
        // Sometimes a name that doesn't exist, sometimes a way back to an earlier one.
        const unsigned target = 1 + below(names);
        static constexpr const char* kRequirements[] = {"*", "=1.0.0", "=2.0.0", "<3", ">=2", ">1, <3", "=3.0.0"};
        package.dep(name_of(target) + "@" + kRequirements[below(std::size(kRequirements))], "d" + std::to_string(d));
      }
      shape.packages.push_back(package);
    }
  }
  return shape;
}

MemorySource source_of(const Shape& shape) {
  MemorySource source;
  for (const TestPackage& package : shape.packages) {
    source.add(package.summary());
  }
  return source;
}

/// Whether some choice of one version a name makes a tree below the root that is complete and acyclic.
bool is_solvable(const Shape& shape) {
  std::map<std::string, std::vector<const PackageInfo*>> versions;
  for (const TestPackage& package : shape.packages) {
    versions[package.info().id.named()->full_name].push_back(&package.info());
  }
  std::map<std::string, const PackageInfo*> choice;
  const std::function<bool(const PackageInfo&, int)> is_fine = [&](const PackageInfo& pkg, int depth) {
    if (depth > 10) {
      return false;  // more than there are names: a cycle
    }
    for (const DependencySpec& dependency : pkg.dependencies) {
      const auto chosen = choice.find(dependency.specifier.named()->full_name());
      if (chosen == choice.end() || !dependency.specifier.named()->matches(*chosen->second->id.named()) ||
          !is_fine(*chosen->second, depth + 1)) {
        return false;
      }
    }
    return true;
  };
  const std::function<bool(decltype(versions)::const_iterator)> any = [&](auto at) {
    if (at == versions.end()) {
      return is_fine(shape.packages.front().info(), 0);
    }
    for (const PackageInfo* version : at->second) {
      choice[at->first] = version;
      if (any(std::next(at))) {
        return true;
      }
    }
    return false;
  };
  return any(versions.begin());
}

void expect_sound(const Resolution& resolution) {
  std::map<std::string, std::string> version_of;
  std::vector<std::size_t> position(resolution.graph.nodes.size());
  ASSERT_EQ(resolution.order.size(), resolution.graph.nodes.size());
  for (std::size_t i = 0; i < resolution.order.size(); ++i) {
    position[resolution.order[i]] = i;
  }
  for (std::size_t i = 0; i < resolution.graph.nodes.size(); ++i) {
    const auto& node = resolution.graph.nodes[i];
    EXPECT_TRUE(version_of.emplace(node.pkg.id.named()->full_name, node.pkg.id.to_string()).second);
    ASSERT_EQ(node.edges.size(), node.pkg.dependencies.size());
    for (std::size_t d = 0; d < node.edges.size(); ++d) {
      const auto& dependency = node.pkg.dependencies[d];
      const PackageId& target = resolution.graph.nodes[node.edges[d].target].pkg.id;
      EXPECT_EQ(node.edges[d].alias, dependency.alias);
      EXPECT_TRUE(dependency.specifier.named()->matches(*target.named()));
      EXPECT_LT(position[i], position[node.edges[d].target]);
    }
  }
}

TEST(Property, ASolutionIsFoundIfAndOnlyIfThereIsOne) {
  const CapturedLog quiet;
  std::mt19937 random(1);
  int solved = 0;
  int failed = 0;
  for (int run = 0; run < 1000; ++run) {
    const Shape shape = random_registry(random);
    MemorySource source = source_of(shape);
    SCOPED_TRACE(run);
    try {
      const Resolution resolution = resolve(shape.packages.front().info(), source);
      expect_sound(resolution);
      EXPECT_TRUE(is_solvable(shape));
      ++solved;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kResolve);
      EXPECT_FALSE(is_solvable(shape)) << error.what();
      ++failed;
    }
    if (HasFailure()) {
      return;
    }
  }
  EXPECT_GT(solved, 100);
  EXPECT_GT(failed, 100);
}

TEST(Property, AnUnrelatedPackageChangesNothing) {
  const CapturedLog quiet;
  std::mt19937 random(2);
  for (int run = 0; run < 300; ++run) {
    const Shape shape = random_registry(random);
    MemorySource before = source_of(shape);
    MemorySource after = source_of(shape);
    after.add(TestPackage(named_id("unrelated@9.0.0")).dep("p1@*").command("x").fs("v", "/").summary());
    const auto describe = [&](MemorySource& source) -> std::string {
      try {
        const Resolution resolution = resolve(shape.packages.front().info(), source);
        std::string text = to_dot(resolution.graph);
        for (const std::size_t node : resolution.order) {
          text += std::to_string(node) + " ";
        }
        return text;
      } catch (const Error& error) {
        return error.what();
      }
    };
    EXPECT_EQ(describe(before), describe(after));
  }
}

}  // namespace
}  // namespace pkgfs::test
