// SPDX-License-Identifier: MIT
#include "core/resolve/resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/resolve/builder.h"

namespace pkgfs::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

std::vector<std::pair<std::string, std::string>> owners(const Resolution& resolution) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [name, command] : resolution.package.commands) {
    EXPECT_EQ(name, command.name);
    out.emplace_back(name, command.package.to_string());
  }
  return out;
}

std::vector<std::string> mounts(const Resolution& resolution) {
  std::vector<std::string> out;
  for (const auto& mapping : resolution.package.filesystem) {
    out.push_back(mapping.mount_path + " = " + mapping.package.to_string() + ":" + mapping.volume_name +
                  (mapping.original_path ? ":" + *mapping.original_path : ""));
  }
  return out;
}

TEST(TopologicalOrder, LaterDeclaredComesFirst) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("b@*");
  registry.add("a@1.0.0").dep("c@*");
  registry.add("b@1.0.0").dep("c@*");
  registry.add("c@1.0.0");
  const Resolution resolution = registry.resolve("root");
  EXPECT_THAT(ids(resolution), ElementsAre("root@1.0.0", "a@1.0.0", "b@1.0.0", "c@1.0.0"));
  EXPECT_THAT(topological_ids(resolution), ElementsAre("root@1.0.0", "b@1.0.0", "a@1.0.0", "c@1.0.0"));
}

TEST(Commands, OfTwoDependenciesAppear) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("b@*");
  registry.add("a@1.0.0").command("x").command("same");
  registry.add("b@1.0.0").command("y").command("same");
  EXPECT_THAT(owners(registry.resolve("root")),
              ElementsAre(Pair("same", "b@1.0.0"), Pair("x", "a@1.0.0"), Pair("y", "b@1.0.0")));
}

TEST(Commands, TheRootShadows) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").command("x");
  registry.add("a@1.0.0").command("x");
  EXPECT_THAT(owners(registry.resolve("root")), ElementsAre(Pair("x", "root@1.0.0")));
}

TEST(Entrypoint, OwnOneFirst) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").command("x").command("y").entrypoint("y");
  registry.add("a@1.0.0").command("z").entrypoint("z");
  EXPECT_EQ(registry.resolve("root").package.entrypoint, "y");
}

TEST(Entrypoint, InheritedFromTheFirstInOrder) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("b@*");
  registry.add("a@1.0.0").command("x").entrypoint("x");
  registry.add("b@1.0.0").command("y").entrypoint("y");
  EXPECT_EQ(registry.resolve("root").package.entrypoint, "y");
}

TEST(Entrypoint, InheritedEvenWhereTheRootHasCommands) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").command("mine");
  registry.add("a@1.0.0").command("x").entrypoint("x");
  EXPECT_EQ(registry.resolve("root").package.entrypoint, "x");
}

TEST(Entrypoint, TheOnlyCommandOfTheRoot) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").command("mine");
  registry.add("a@1.0.0").command("x");
  EXPECT_EQ(registry.resolve("root").package.entrypoint, "mine");
}

TEST(Entrypoint, NoneWithTwoCommandsOrOnlyThoseOfDependencies) {
  TestRegistry registry;
  registry.add("two@1.0.0").command("x").command("y");
  registry.add("none@1.0.0").dep("a@*");
  registry.add("a@1.0.0").command("x");
  EXPECT_EQ(registry.resolve("two").package.entrypoint, std::nullopt);
  EXPECT_EQ(registry.resolve("none").package.entrypoint, std::nullopt);
}

TEST(Filesystem, NoneAndOne) {
  TestRegistry registry;
  registry.add("none@1.0.0");
  registry.add("one@1.0.0").fs("atom", "/lib", std::nullopt, "/usr/lib");
  EXPECT_THAT(mounts(registry.resolve("none")), IsEmpty());
  EXPECT_THAT(mounts(registry.resolve("one")), ElementsAre("/lib = one@1.0.0:atom:/usr/lib"));
}

TEST(Filesystem, RootThenSecondThenFirst) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("first@*").dep("second@*").fs("atom", "/root");
  registry.add("first@1.0.0").fs("atom", "/first");
  registry.add("second@1.0.0").fs("atom", "/second");
  EXPECT_THAT(mounts(registry.resolve("root")),
              ElementsAre("/root = root@1.0.0:atom", "/second = second@1.0.0:atom", "/first = first@1.0.0:atom"));
}

TEST(Filesystem, VolumeOfADependency) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("lib@*", "it").fs("data", "/x", "it").fs("own", "/y");
  registry.add("lib@1.0.0");
  EXPECT_THAT(mounts(registry.resolve("root")), ElementsAre("/x = lib@1.0.0:data", "/y = root@1.0.0:own"));
}

TEST(Filesystem, UnknownAlias) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("lib@*", "it");
  registry.add("lib@1.0.0").fs("data", "/x", "it");
  EXPECT_EQ(error_text([&] { return registry.resolve("root"); }),
            "The \"lib@1.0.0\" package maps a volume from \"it\", but that isn't one of its dependencies");
}

TEST(Dot, IsExact) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("ns/a@*", "a").dep("ns/a@1", "say \"\\\n");
  registry.add("ns/a@1.0.0");
  EXPECT_EQ(to_dot(registry.resolve("root").graph),
            "digraph {\n"
            "    0 [ label = \"root@1.0.0\" ]\n"
            "    1 [ label = \"ns/a@1.0.0\" ]\n"
            "    0 -> 1 [ label = \"a\" ]\n"
            "    0 -> 1 [ label = \"say \\\"\\\\\\l\" ]\n"
            "}\n");
}

}  // namespace
}  // namespace pkgfs::test
