// SPDX-License-Identifier: MIT
#include "daemon/cli/text_output.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "daemon/cli/suggest.h"

namespace pkgfs {
namespace {

TEST(TextOutput, ModesTimesAndSizes) {
  EXPECT_EQ(mode_text({.type = vfs::FileType::kFile, .mode = 0755}), "-rwxr-xr-x");
  EXPECT_EQ(mode_text({.type = vfs::FileType::kDirectory, .mode = 0500}), "dr-x------");
  EXPECT_EQ(mode_text({.type = vfs::FileType::kSymlink, .mode = 0777}), "lrwxrwxrwx");
  EXPECT_EQ(time_text(1), "1970-01-01 00:00:01");
  EXPECT_EQ(time_text(1646656037), "2022-03-07 12:27:17");
  EXPECT_EQ(time_text(std::numeric_limits<std::int64_t>::max()), "@9223372036854775807");
  EXPECT_EQ(size_text(1), "1 byte");
  EXPECT_EQ(size_text(1023), "1023 bytes");
  EXPECT_EQ(size_text(1536), "1.5 KiB");
  EXPECT_EQ(size_text(std::numeric_limits<std::uint64_t>::max()), "16.0 EiB");
}

TEST(TextOutput, SentencesHaveACapitalButNoWordThatIsTyped) {
  EXPECT_EQ(sentence("print JSON"), "Print JSON.");
  EXPECT_EQ(sentence("auto (default): yes. off: no"), "auto (default): yes. off: no.");
  EXPECT_EQ(sentence("prune: remove"), "prune: remove.");
  EXPECT_EQ(sentence("keep it (default: 1)"), "Keep it (default: 1).");
  EXPECT_EQ(sentence(""), "");
}

TEST(TextOutput, WrapsAtBlanks) {
  EXPECT_EQ(wrapped("one two three", 7), "one two\nthree");
  EXPECT_EQ(wrapped("one two", 8, 2), "one\n  two") << "the term before it takes two columns";
  EXPECT_EQ(wrapped("one two", 9, 2), "one two");
  EXPECT_EQ(wrapped("a\nb c", 80, 1), "a\n b c");
  EXPECT_EQ(wrapped("longest word", 3), "longest\nword");
  EXPECT_EQ(wrapped("ää ö", 4), "ää ö") << "columns, not bytes";
  EXPECT_EQ(wrapped("", 10), "");
}

TEST(Suggest, FindsWhatIsNearAndNothingElse) {
  constexpr std::array<std::string_view, 3> kNames{"mount", "unmount", "ls"};
  EXPECT_EQ(suggest("mout", kNames), "mount");
  EXPECT_EQ(suggest("unmuont", kNames), "unmount");
  EXPECT_EQ(suggest("sl", kNames), std::nullopt) << "half of a short word is no misspelling";
  EXPECT_EQ(suggest("extract", kNames), std::nullopt);
  EXPECT_EQ(suggest(std::string(100000, 'x'), kNames), std::nullopt);
}

}  // namespace
}  // namespace pkgfs
