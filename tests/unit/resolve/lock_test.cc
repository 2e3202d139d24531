// SPDX-License-Identifier: MIT
#include "core/resolve/lock_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include <nlohmann/json.hpp>

#include "core/lazy/access_profile.h"
#include "core/source/container_summary.h"
#include "tests/support/fixtures.h"
#include "tests/unit/resolve/builder.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

/// A root with two dependencies, one of them shared and aliased.
Resolution resolved() {
  MemorySource source;
  source.add(TestPackage(named_id("acme/lib@1.2.0")).dep("acme/base@^1").hash("lib").summary());
  source.add(TestPackage(named_id("acme/base@1.0.0")).command("run").fs("v", "/b").hash("base").summary());
  const TestPackage root = TestPackage(named_id("acme/app@1.0.0"))
                               .dep("acme/lib@^1", "l")
                               .dep("acme/base", "b")
                               .entrypoint("run")
                               .fs("v", "/app", "b", "/sub")
                               .hash("app");
  Resolution resolution = resolve(root.info(), source);
  resolution.graph.nodes.front().dist = root.summary().dist;
  return resolution;
}

/// What the manifests of the packages of `resolution` state.
std::vector<std::optional<PackageInfo>> manifests(const Resolution& resolution) {
  std::vector<std::optional<PackageInfo>> infos;
  for (const auto& node : resolution.graph.nodes) {
    infos.emplace_back(node.pkg);
  }
  return infos;
}

void confirm_all(LockFile& lock, const std::vector<std::optional<PackageInfo>>& found) {
  for (std::size_t i = 0; i < found.size(); ++i) {
    confirm(lock, i, found[i]);
  }
}

std::string good() { return print_lock(make_lock(resolved())); }
Json document() { return Json::parse(good()); }

/// Parses and confirms `text`. Returns the error, "" if there is none.
std::string refusal(const std::string& text) {
  try {
    LockFile lock = parse_lock(text);
    confirm_all(lock, manifests(resolved()));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(LockFile, GivesTheSameResolutionBack) {
  const Resolution before = resolved();
  LockFile lock = parse_lock(print_lock(make_lock(before)));
  confirm_all(lock, manifests(before));
  LockSource source(lock);
  const Resolution after = resolve(lock.packages.front().summary.pkg, source);
  EXPECT_EQ(to_dot(before.graph), to_dot(after.graph));
  EXPECT_EQ(before.order, after.order);
  EXPECT_EQ(before.package.entrypoint, after.package.entrypoint);
  ASSERT_EQ(after.package.filesystem.size(), before.package.filesystem.size());
  for (std::size_t i = 0; i < after.package.filesystem.size(); ++i) {
    EXPECT_EQ(after.package.filesystem[i].mount_path, before.package.filesystem[i].mount_path);
    EXPECT_EQ(after.package.filesystem[i].original_path, before.package.filesystem[i].original_path);
    EXPECT_EQ(after.package.filesystem[i].package, before.package.filesystem[i].package);
  }
  EXPECT_EQ(after.graph.nodes[1].dist->webc_sha256, before.graph.nodes[1].dist->webc_sha256);
  EXPECT_EQ(after.graph.nodes[1].dist->url, before.graph.nodes[1].dist->url);
}

TEST(LockFile, SameResolutionSameBytes) { EXPECT_EQ(good(), good()); }

TEST(LockFile, LocalFilesKeepTheirPath) {
  LockFile lock = make_lock(resolved());
  lock.packages.front().summary.dist.url = "file:///some%20where/a.webc";
  EXPECT_EQ(parse_lock(print_lock(lock)).packages.front().summary.dist.path, "/some where/a.webc");
  for (const std::string path : {"/100%20/a?b#c.webc", "/%/\"<`> ", "/line\nbreak",
                                 "/b\xC3\xBC"
                                 "cher",
                                 "/\xFF\xFE"}) {
    lock.packages.front().summary.dist = local_distribution(path);
    lock.packages.front().summary.dist.webc_sha256 = sha256("a");
    const DistributionInfo read = parse_lock(print_lock(lock)).packages.front().summary.dist;
    EXPECT_EQ(read.path, path) << read.url;
  }
}

TEST(LockFile, AnswersNothingElse) {
  const LockFile lock = make_lock(resolved());
  LockSource source(lock);
  EXPECT_THROW(static_cast<void>(source.query(PackageSpecifier::parse("acme/base@^2"))), QueryError);
}

// Risk: an edit adds or hides a mount or a command, and nothing tells.
TEST(LockFile, WhatTheManifestDoesNotSayIsRefusedWithBothValues) {
  const auto edited = [](const std::function<void(Json&)>& edit) {
    Json lock = document();
    edit(lock["packages"]);
    return refusal(lock.dump());
  };
  EXPECT_EQ(edited([](Json&) {}), "");
  EXPECT_THAT(edited([](Json& p) { p[0]["filesystem"][0]["mount_path"] = "/etc"; }),
              HasSubstr("packages.0.filesystem.0.mount_path is \"/etc\" in the lock file and \"/app\" in the package "
                        "\"acme/app@1.0.0\""));
  EXPECT_THAT(edited([](Json& p) { p[0]["filesystem"][0]["original_path"] = "/"; }),
              HasSubstr("packages.0.filesystem.0.original_path is \"/\" in the lock file and \"/sub\""));
  EXPECT_THAT(edited([](Json& p) { p[0]["filesystem"].erase(0); }),
              HasSubstr("packages.0.filesystem.0 is missing in the lock file and {\"mount_path\":\"/app\""));
  EXPECT_THAT(edited([](Json& p) { p[2]["commands"].push_back("more"); }),
              HasSubstr("packages.2.commands.1 is \"more\" in the lock file and missing in the package"));
  EXPECT_THAT(edited([](Json& p) { p[0]["entrypoint"] = nullptr; }),
              HasSubstr("packages.0.entrypoint is null in the lock file and \"run\" in the package"));
  EXPECT_THAT(edited([](Json& p) { p[0]["dependencies"][0]["alias"] = "b"; }),
              HasSubstr("dependencies.0.alias is \"b\""));
  EXPECT_THAT(edited([](Json& p) { p[0]["dependencies"][0]["specifier"] = "acme/lib"; }),
              HasSubstr("dependencies.0.specifier is \"acme/lib\" in the lock file and \"acme/lib@^1\""));
  EXPECT_THAT(edited([](Json& p) { p[0]["more"] = 1; }),
              HasSubstr("packages.0.more is 1 in the lock file and missing"));
}

// Risk: a package is shown under the name of another.
TEST(LockFile, AnIdIsThatOfTheContainerOrOfTheRecordedAnswer) {
  std::string renamed = good();
  for (std::size_t at = 0; (at = renamed.find("base@1.0.0", at)) != std::string::npos;) {
    renamed.replace(at, 10, "base@1.0.9");
  }
  EXPECT_THAT(refusal(renamed), HasSubstr("packages.2.id is \"acme/base@1.0.9\" in the lock file and "
                                          "\"acme/base@1.0.0\" in the package"));
  LockFile lock = make_lock(resolved());
  for (LockFile::Locked& locked : lock.packages) {
    locked.summary.dist.registry = "https://registry.example/graphql";
  }
  Json answered = Json::parse(print_lock(lock));
  EXPECT_EQ(answered["packages"][2]["registry"]["id"], "acme/base@1.0.0");
  auto infos = manifests(resolved());
  infos[2]->id = named_id("other/name@0.0.0");
  LockFile parsed = parse_lock(answered.dump());
  EXPECT_NO_THROW(confirm_all(parsed, infos));
  EXPECT_EQ(parsed.packages[2].summary.pkg.id, named_id("acme/base@1.0.0"));
  answered["packages"][0]["registry"]["id"] = "acme/app@1.0.1";
  EXPECT_THAT(refusal(answered.dump()), HasSubstr("packages.0.id is \"acme/app@1.0.0\", but the registry's answer was "
                                                  "\"acme/app@1.0.1\""));
}

TEST(LockFile, VersionOneIsReadAndChecked) {
  LockFile old = make_lock(resolved());
  old.format = 1;
  const std::string text = print_lock(old);
  EXPECT_EQ(text.find("registry"), std::string::npos);
  EXPECT_EQ(refusal(text), "");
  Json edited = Json::parse(text);
  edited["packages"][2]["filesystem"].clear();
  EXPECT_THAT(refusal(edited.dump()), HasSubstr("packages.2.filesystem.0 is missing in the lock file"));
}

// Risk: a live directory that changed can't be mounted with its lock any more, or the lock's word replaces its own.
TEST(LockFile, OfADirectoryOnlyIdAndDependenciesAreCompared) {
  for (const int format : {1, 2, 3}) {
    LockFile lock = make_lock(resolved());
    lock.format = format;
    lock.packages[0].summary.dist = {"file:///dir", "/dir", std::nullopt};
    Json text = Json::parse(print_lock(lock));
    EXPECT_FALSE(text["packages"][0].contains("filesystem"));
    text["packages"][0]["filesystem"] = Json::array();  // as version 1 has it
    LockFile parsed = parse_lock(text.dump());
    confirm_all(parsed, manifests(resolved()));
    EXPECT_EQ(parsed.packages[0].summary.pkg.filesystem.size(), 1U) << "the manifest's";
    text["packages"][0]["dependencies"].erase(1);
    parsed = parse_lock(text.dump());
    EXPECT_THROW(confirm_all(parsed, manifests(resolved())), Error);
  }
}

TEST(LockFile, WhatCantBeReadHasNoProperties) {
  LockFile lock = parse_lock(good());
  auto infos = manifests(resolved());
  infos[1].reset();
  confirm_all(lock, infos);
  EXPECT_TRUE(lock.packages[1].summary.pkg.dependencies.empty());
  EXPECT_TRUE(lock.packages[1].dependency_ids.empty());
  EXPECT_NO_THROW(LockSource{lock});
}

TEST(LockFile, OneSpecifierHasOnePackage) {
  LockFile lock = make_lock(resolved());
  lock.packages[1].dependency_ids[0] = "acme/lib@1.2.0";
  lock.packages[1].summary.pkg.dependencies[0].specifier = PackageSpecifier::parse("acme/base");
  EXPECT_THROW(LockSource{lock}, Error);
}

// Risk: two readers of one file see different packages.
TEST(LockFile, AmbiguousTextsAreRefused) {
  const std::string text = good();
  EXPECT_EQ(refusal("\xef\xbb\xbf" + text), "a byte order mark");
  EXPECT_THAT(refusal(text + std::string(1, '\0') + "{}"), HasSubstr("a NUL at byte"));
  EXPECT_THAT(refusal(text + "{}"), HasSubstr("expected end of input"));
  EXPECT_THAT(refusal(text + "x"), HasSubstr("parse error at line"));
  EXPECT_THAT(refusal(R"({"pkgfs_lock": 2, "packages": [], "packages": []})"), HasSubstr("\"packages\""));
  EXPECT_THAT(refusal("{\n \"pkgfs_lock\": 2,\n \"p\\u006bgfs_lock\": 2}"), HasSubstr("\"pkgfs_lock\""));
  std::string twice = text;
  twice.insert(twice.find("\"url\""), "\"id\": \"acme/app@1.0.0\", ");
  EXPECT_THAT(refusal(twice), HasSubstr("\"id\""));
  EXPECT_NE(refusal(std::string(100, '[')), "");
}

TEST(LockFile, NonsenseIsRefused) {
  const std::string text = good();
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string edited = text;
    const std::size_t at = edited.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    edited.replace(at, from.size(), to);
    EXPECT_THROW(static_cast<void>(parse_lock(edited)), Error) << from << " -> " << to;
  };
  refused("\"pkgfs_lock\": 2", "\"pkgfs_lock\": 4");
  refused("\"pkgfs_lock\": 2", "\"pkgfs_lock\": 3");  // its entries have profiles
  refused("\"pkgfs_lock\": 2", "\"pkgfs_lock\": 0");
  refused("\"pkgfs_lock\": 2", "\"pkgfs_lock\": \"1\"");
  refused("\"pkgfs_lock\": 2", "\"more\": 1, \"pkgfs_lock\": 2");
  refused("acme/app@1.0.0\"", "acme/app\"");
  refused("acme/app@1.0.0\"", "acme/lib@1.2.0\"");
  refused("\"id\": \"acme/base@1.0.0\"", "\"id\": \"acme/gone@1.0.0\"");
  refused("\"sha256\": \"", "\"sha256\": \"x");
  for (std::size_t length = 0; length + 2 < text.size(); length += 7) {
    EXPECT_THROW(static_cast<void>(parse_lock(std::string_view(text).substr(0, length))), Error) << length;
  }
}

// Risk: a lock file makes a lazy mount fetch without a limit, or can't be read by an older pkgfs for no reason.
TEST(LockFile, ProfilesAreKeptAndChecked) {
  const std::string profile = AccessProfile{.size = 10 << 20, .opening = {{0, 2}}, .mounts = {{{{7, 3}}}}}.text();
  Resolution resolution = resolved();
  resolution.graph.nodes[1].dist->profile = profile;
  const std::string text = print_lock(make_lock(resolution));
  EXPECT_EQ(refusal(text), "");
  const LockFile lock = parse_lock(text);
  EXPECT_EQ(lock.format, 3);
  EXPECT_EQ(lock.packages[0].summary.dist.profile, "");
  EXPECT_EQ(lock.packages[1].summary.dist.profile, profile);
  EXPECT_EQ(print_lock(make_lock(resolution)), text);
  EXPECT_EQ(good().find("profile"), std::string::npos);
  EXPECT_EQ(document()["pkgfs_lock"], 2);

  const auto edited = [&](const std::function<void(Json&)>& edit) {
    Json document = Json::parse(text);
    edit(document["packages"]);
    return refusal(document.dump());
  };
  EXPECT_EQ(edited([](Json& p) { p[1]["profile"] = nullptr; }), "");
  EXPECT_THAT(edited([](Json& p) { p[1].erase("profile"); }), HasSubstr("profile"));
  EXPECT_THAT(edited([](Json& p) { p[1]["profile"] = 1; }), HasSubstr("packages.1.profile"));
  EXPECT_THAT(edited([](Json& p) { p[1]["profile"] = ""; }), HasSubstr("packages.1.profile: it isn't a profile"));
  EXPECT_THAT(edited([&](Json& p) { p[1]["profile"] = profile + " "; }), HasSubstr("packages.1.profile: "));
  EXPECT_THAT(edited([](Json& p) {
                std::string changed = p[1]["profile"].get<std::string>();
                changed[changed.find('7')] = '8';
                p[1]["profile"] = changed;
              }),
              HasSubstr("packages.1.profile: it isn't a profile of accesses: its checksum is wrong"));
  Json older = Json::parse(text);
  older["pkgfs_lock"] = 2;
  EXPECT_THAT(refusal(older.dump()), HasSubstr("packages.0.profile is null in the lock file and missing"));
}

TEST(LockFile, APackageThatNoneNeedsIsRefused) {
  Json lock = document();
  lock["packages"].push_back(lock["packages"][2]);
  lock["packages"][3]["id"] = "acme/more@1.0.0";
  EXPECT_THAT(refusal(lock.dump()), HasSubstr("no package in the lock file needs \"acme/more@1.0.0\""));
}

}  // namespace
}  // namespace pkgfs::test
