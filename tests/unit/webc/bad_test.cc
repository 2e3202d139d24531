// SPDX-License-Identifier: MIT
// For every damaged fixture: whether pkgfs refuses to open it, which entries fail with EIO, and what `verify` finds.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/base/error.h"
#include "tests/unit/webc/webc_files.h"

namespace pkgfs::webc {
namespace {

namespace fs = std::filesystem;
using test::load;

// Sound, or harmless and therefore served and passed by verify; each with the reason.
const std::map<std::string, std::string> kSound = {
    {"v1-ok", "the base of the others"},
    {"v2-ok", "the base of the others"},
    {"v3-ok", "the base of the others"},
    {"v1-checksum-none", "a checksum is optional"},
    {"v1-dir-unsorted", "order is not needed by a reader that does not search"},
    {"v2-name-unsorted", "the same"},
    {"v3-name-unsorted", "the same"},
    {"v1-file-end", "an empty file at the end of the data"},
    {"v2-file-emptyend", "the same"},
    {"v3-file-emptyend", "the same"},
    {"v2-file-emptyfar", "an empty file's place means nothing"},
    {"v3-file-emptyfar", "the same"},
    {"v2-file-overlap", "bodies may overlap in a read-only tree"},
    {"v3-file-overlap", "the same"},
    {"v1-vol-name-empty", "a volume can be called by the empty name"},
    {"v2-ix-extra", "unknown fields are for later versions"},
    {"v3-ix-extra", "the same"},
    {"v2-ix-indefinite", "legal CBOR"},
    {"v3-ix-indefinite", "the same"},
    {"v2-ix-nosum", "checksum-none is a kind of checksum"},
    {"v3-ix-nosum", "the same"},
    {"v2-manifest-trailing", "bytes after the first item are ignored"},
    {"v3-manifest-trailing", "the same"},
    {"v2-trailing", "bytes of no section are ignored"},
    {"v3-trailing", "the same"},
    {"v2-vol-trailing", "bytes after the data are ignored"},
    {"v3-vol-trailing", "the same"},
    {"v3-time-accessed", "only the modification time is read"},
    {"v3-time-huge", "times are clamped"},
};

// Opens, because the damage is in a tree or a checksum; verify refuses. The number: how many entries answer EIO.
const std::map<std::string, std::size_t> kDamaged = {
    {"v1-atoms-dir", 0},       {"v1-checksum-signed", 0},  {"v1-checksum", 0},         {"v1-cut-01592", 0},
    {"v1-dir-beyond", 1},      {"v1-dir-cycle", 1},        {"v1-dir-dotdot", 0},       {"v1-dir-dup", 0},
    {"v1-dir-emptyname", 0},   {"v1-dir-reversed", 1},     {"v1-dir-slash", 0},        {"v1-dir-type", 1},
    {"v1-dir-utf8", 0},        {"v1-entry-short", 1},      {"v1-file-beyond", 1},      {"v1-file-max", 1},
    {"v1-file-reversed", 1},   {"v1-level-len-max", 1},    {"v1-level-len", 1},        {"v1-level-short", 1},
    {"v1-name-len", 1},        {"v1-siglen-max", 0},       {"v1-siglen", 0},           {"v1-unnamed-wapm", 0},
    {"v1-unnamed", 0},         {"v2-atoms-name", 0},       {"v2-atoms-nested", 0},     {"v2-atoms-sig", 0},
    {"v2-deep-5000", 0},       {"v2-dir-bomb", 29},        {"v2-dir-cycle-parent", 1}, {"v2-dir-cycle-self", 1},
    {"v2-dir-len-big", 1},     {"v2-dir-len-max", 1},      {"v2-dir-len-small", 1},    {"v2-dir-off-big", 1},
    {"v2-dir-off-end", 1},     {"v2-dir-off-max", 1},      {"v2-dir-off-mid", 1},      {"v2-dir-rootfile", 1},
    {"v2-dir-shared-file", 0}, {"v2-dir-shared", 1},       {"v2-dir-tag-manifest", 1}, {"v2-dir-tag", 1},
    {"v2-file-badhash", 0},    {"v2-file-beyond", 1},      {"v2-file-max", 1},         {"v2-file-reversed", 1},
    {"v2-file-start", 1},      {"v2-ix-badsum", 0},        {"v2-ix-shortsum", 0},      {"v2-manifest-indef", 0},
    {"v2-manifest-null", 0},   {"v2-name-absolute", 0},    {"v2-name-badlen", 1},      {"v2-name-dot", 0},
    {"v2-name-dotdot-dir", 0}, {"v2-name-dotdot", 0},      {"v2-name-dup-kind", 0},    {"v2-name-dup", 0},
    {"v2-name-empty", 0},      {"v2-name-long", 0},        {"v2-name-nul", 0},         {"v2-name-slash", 0},
    {"v2-name-traverse", 0},   {"v2-name-utf8", 0},        {"v2-name-verylong", 0},    {"v2-vol-noheader", 1},
    {"v3-atoms-name", 0},      {"v3-atoms-nested", 0},     {"v3-atoms-sig", 0},        {"v3-deep-5000", 0},
    {"v3-dir-bomb", 29},       {"v3-dir-cycle-parent", 1}, {"v3-dir-cycle-self", 1},   {"v3-dir-len-big", 1},
    {"v3-dir-len-max", 1},     {"v3-dir-len-small", 1},    {"v3-dir-off-big", 1},      {"v3-dir-off-end", 1},
    {"v3-dir-off-max", 1},     {"v3-dir-off-mid", 1},      {"v3-dir-rootfile", 1},     {"v3-dir-shared-file", 0},
    {"v3-dir-shared", 1},      {"v3-dir-tag-manifest", 1}, {"v3-dir-tag", 1},          {"v3-file-badhash", 0},
    {"v3-file-beyond", 1},     {"v3-file-max", 1},         {"v3-file-reversed", 1},    {"v3-file-start", 1},
    {"v3-ix-badsum", 0},       {"v3-ix-shortsum", 0},      {"v3-manifest-indef", 0},   {"v3-manifest-null", 0},
    {"v3-name-absolute", 0},   {"v3-name-badlen", 1},      {"v3-name-dot", 0},         {"v3-name-dotdot-dir", 0},
    {"v3-name-dotdot", 0},     {"v3-name-dup-kind", 0},    {"v3-name-dup", 0},         {"v3-name-empty", 0},
    {"v3-name-long", 0},       {"v3-name-nul", 0},         {"v3-name-slash", 0},       {"v3-name-traverse", 0},
    {"v3-name-utf8", 0},       {"v3-name-verylong", 0},    {"v3-section-hash", 0},     {"v3-symlink-abs", 0},
    {"v3-symlink-escape", 0},  {"v3-vol-noheader", 1},
};
// Everything else is refused at open.

struct BadFile {
  fs::path path;
  std::string name;
};

std::vector<BadFile> bad_files() {
  std::vector<BadFile> files;
  for (const auto& entry : fs::directory_iterator(pkgfs::test::fixtures() / "bad")) {
    if (entry.path().extension() == ".webc") {
      files.push_back({entry.path(), entry.path().stem().string()});
    }
  }
  std::sort(files.begin(), files.end(), [](const BadFile& a, const BadFile& b) { return a.name < b.name; });
  return files;
}

TEST(BadFiles, AreRefusedOrOpenAsTheTableSays) {
  const pkgfs::test::CapturedLog log;
  const auto files = bad_files();
  ASSERT_EQ(files.size(), 351U);
  std::set<std::string> opened;
  for (const BadFile& file : files) {
    SCOPED_TRACE(file.name);
    const bool opens = kSound.contains(file.name) || kDamaged.contains(file.name);
    try {
      const auto container = Container::open(load(file.path));
      EXPECT_TRUE(opens) << "opened";
      opened.insert(file.name);
    } catch (const Error& error) {
      EXPECT_FALSE(opens) << error.what();
      EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported);
      EXPECT_TRUE(error.message().starts_with(file.name + ".webc: ")) << error.message();
      const bool placed = error.message().find("offset 0x") != std::string::npos;
      EXPECT_TRUE(placed || error.message().ends_with("is an empty file, not a package")) << error.message();
    }
  }
  EXPECT_EQ(opened.size(), kSound.size() + kDamaged.size());
}

TEST(BadFiles, AnswerEioWhereTheyAreDamagedAndNothingElse) {
  const pkgfs::test::CapturedLog log;
  for (const BadFile& file : bad_files()) {
    const bool damaged = kDamaged.contains(file.name);
    if (!damaged && !kSound.contains(file.name)) {
      continue;
    }
    SCOPED_TRACE(file.name);
    const auto container = Container::open(load(file.path));
    std::size_t eio = 0;
    for (const auto& volume : container->volumes()) {
      const test::Walk walk = test::walk(*volume);
      EXPECT_FALSE(walk.endless);
      eio += walk.eio.size();
      for (const test::Found& found : walk.entries) {
        const EntryInfo& info = found.record.info;
        if (info.kind == EntryKind::kFile) {
          EXPECT_LE(info.offset, volume->source()->size());
          EXPECT_LE(info.length, volume->source()->size() - info.offset);
        }
        EXPECT_FALSE(found.record.name.empty() || found.record.name == "." || found.record.name == "..");
        EXPECT_EQ(found.record.name.find_first_of(std::string_view("/\0", 2)), std::string_view::npos);
      }
    }
    EXPECT_EQ(eio, damaged ? kDamaged.at(file.name) : 0U);
    for (const Atom& atom : container->atoms()) {
      EXPECT_EQ(atom.name.find('/'), std::string::npos);
    }
  }
}

TEST(BadFiles, AreRefusedByVerifyUnlessHarmless) {
  const pkgfs::test::CapturedLog log;
  for (const BadFile& file : bad_files()) {
    const bool sound = kSound.contains(file.name);
    if (!sound && !kDamaged.contains(file.name)) {
      continue;
    }
    SCOPED_TRACE(file.name);
    const auto container = Container::open(load(file.path));
    const auto problems = verify(*container, VerifyDepth::kContent);
    EXPECT_EQ(problems.empty(), sound) << (problems.empty() ? "" : problems[0]);
    EXPECT_LE(problems.size(), kMaxProblems);
    for (const std::string& problem : problems) {
      EXPECT_TRUE(problem.starts_with(file.name + ".webc: ")) << problem;
      const bool placed = problem.find("offset 0x") != std::string::npos;
      EXPECT_TRUE(placed || problem.find(": manifest: ") != std::string::npos) << problem;
    }
    EXPECT_LE(verify(*container, VerifyDepth::kStructure).size(), problems.size());
  }
}

TEST(BadFiles, SoundOnesListWhatTheReferenceLists) {
  const auto golden = pkgfs::test::read_json(pkgfs::test::fixtures() / "bad/bad.json");
  for (const auto& [name, reason] : kSound) {
    SCOPED_TRACE(name + ": " + reason);
    if (name == "v3-time-huge") {
      continue;  // the reference loses the entry that it can't represent
    }
    const auto container = Container::open(load(pkgfs::test::fixtures() / "bad" / (name + ".webc")));
    Json found = Json::array();
    for (const auto& volume : container->volumes()) {
      Json paths = Json::array();
      for (const test::Found& entry : test::walk(*volume).entries) {
        paths.push_back(entry.path);
      }
      found.push_back({volume->name(), paths});
    }
    EXPECT_EQ(found, golden[name + ".webc"]["paths"]);
  }
}

TEST(BadFiles, DamageIsLoggedOnceWithItsPlace) {
  const auto container = Container::open(load(pkgfs::test::fixtures() / "bad/v3-dir-off-big.webc"));
  const pkgfs::test::CapturedLog log;
  (void)test::walk(*container->volumes()[0]);
  (void)test::walk(*container->volumes()[0]);
  const std::string text = log.text();
  EXPECT_TRUE(text.starts_with("warning: v3-dir-off-big.webc: volume \"/data\", header offset 0x")) << text;
  EXPECT_NE(text.find("child offset 0x10000000000 is past the header end (0xed)"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

}  // namespace
}  // namespace pkgfs::webc
