// SPDX-License-Identifier: MIT
// `pkgfs pack`: the same bytes as Wasmer's packer, or no file at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/base/hash.h"
#include "tests/support/fixtures.h"
#include "tests/unit/daemon/commands/golden_files.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Pack : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string archive = (test::fixtures() / "sources/sources.tar.gz").string();
    // NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread
    ASSERT_EQ(std::system(("tar -xzf '" + archive + "' -C '" + place_.path().string() + "'").c_str()), 0);
  }
  [[nodiscard]] std::string source(const std::string& name) const { return (place_.path() / name).string(); }
  [[nodiscard]] std::string out() const { return (place_.path() / "out.webc").string(); }

  test::TempDir place_;
};

TEST_F(Pack, WritesWhatWasmerWrites) {
  std::size_t compared = 0;
  for (const fs::path& golden : test::files_ending(test::fixtures() / "sources", ".webc")) {
    const std::string name = golden.stem().string();
    if (name.ends_with(".webc6") ||
        name == "bad-escape") {  // another version's; and one that leads out of its directory
      continue;
    }
    SCOPED_TRACE(name);
    const test::Run result = test::run({"pack", source(name), "-o", out()});
    ASSERT_EQ(result.code, 0) << result.err;
    const std::string bytes = test::read_text(out());
    EXPECT_TRUE(bytes == test::read_text(golden));
    EXPECT_EQ(result.out, "sha256:" + to_hex(sha256(std::as_bytes(std::span(bytes)))) + "  " + out() + "\n");
    ++compared;
  }
  EXPECT_GT(compared, 10U);
}

TEST_F(Pack, TimesMayHaveALimit) {
  const auto pack_at = [&](std::chrono::hours age) {
    for (const auto& entry : fs::recursive_directory_iterator(source("fsonly"))) {
      fs::last_write_time(entry, fs::file_time_type::clock::now() - age);
    }
    EXPECT_EQ(test::run({"pack", source("fsonly"), "-o", out()}).code, 0);
    return test::read_text(out());
  };
  EXPECT_NE(pack_at(std::chrono::hours(1)), pack_at(std::chrono::hours(2)));
  ::setenv("SOURCE_DATE_EPOCH", "1700000000", 1);  // NOLINT(concurrency-mt-unsafe): no other thread
  EXPECT_EQ(pack_at(std::chrono::hours(1)), pack_at(std::chrono::hours(2)));
  ::setenv("SOURCE_DATE_EPOCH", "17 days", 1);  // NOLINT(concurrency-mt-unsafe)
  const test::Run wrong = test::run({"pack", source("fsonly"), "-o", out()});
  ::unsetenv("SOURCE_DATE_EPOCH");  // NOLINT(concurrency-mt-unsafe)
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("SOURCE_DATE_EPOCH"));
}

TEST_F(Pack, NothingIsLeftOfAFailure) {
  place_.write("fifo/wasmer.toml", "[fs]\n\"/w\" = \"web\"\n");
  fs::create_directory(place_.path() / "fifo/web");
  ASSERT_EQ(::mkfifo((place_.path() / "fifo/web/pipe").c_str(), 0600), 0);
  const fs::path directory = place_.path() / "target";
  fs::create_directory(directory);
  const std::string target = (directory / "out.webc").string();
  const test::Run pipe = test::run({"pack", source("fifo"), "--output", target});
  EXPECT_EQ(pipe.code, 5);
  EXPECT_THAT(pipe.err, HasSubstr("pipe"));
  EXPECT_TRUE(fs::is_empty(directory));

  EXPECT_EQ(test::run({"pack", source("basic")}).code, 2);
  EXPECT_EQ(test::run({"pack", source("basic"), "-o", "-"}).code, 2);
  place_.write("whole/wasmer.toml", "[fs]\n\"/w\" = \".\"\n");
  const test::Run inside = test::run({"pack", source("whole"), "-o", source("whole") + "/out.webc"});
  EXPECT_EQ(inside.code, 2) << "the next package would contain this one";
  EXPECT_THAT(inside.err, HasSubstr("part of the package"));
  EXPECT_EQ(test::run({"pack", source("absent"), "-o", target}).code, 3);
  EXPECT_THAT(test::run({"pack", source("basic"), "-o", (directory / "no/such").string()}).err, HasSubstr("no/such"));
  const test::Run file = test::run({"pack", (test::fixtures() / "webc/basic-v3.webc").string(), "-o", target});
  EXPECT_EQ(file.code, 2);
  EXPECT_THAT(file.err, HasSubstr("is a package file already"));
  EXPECT_TRUE(fs::is_empty(directory));

  ASSERT_EQ(test::run({"pack", source("basic"), "-o", target}).code, 0);
  EXPECT_EQ(test::run({"pack", source("fifo"), "-o", target}).code, 5);
  EXPECT_TRUE(test::read_text(target) == test::read_text(test::fixtures() / "sources/basic.webc")) << "as before";
}

}  // namespace
}  // namespace pkgfs
