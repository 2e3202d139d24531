// SPDX-License-Identifier: MIT
// Risk: a line of the quick start, the first page that a user reads, doesn't work.
#include <gmock/gmock.h>

#include <sstream>

#include "tests/system/installed.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

class QuickStart : public InstalledTest {};

/// With places of its own for what the page writes to.
TEST_F(QuickStart, EveryLineWorks) {
  std::string lines;
  std::istringstream page(read_text(source_directory() / "docs/QUICKSTART.md"));
  int count = 0;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("    ")) {
      lines += line + "\n";
      ++count;
    }
  }
  EXPECT_GT(count, 15);
  own_processes_ = true;  // they mount at the page's places, not at the test's
  const std::string out =
      sh("mount -t tmpfs none /mnt\nmkdir -p $T/etc/pkgfs/mounts /mnt/up /mnt/work\n"
         "mount -t overlay none /etc -o lowerdir=$T/etc:/etc,upperdir=/mnt/up,workdir=/mnt/work\n"
         "export HOME=/mnt\ncd " +
         source_directory().string() + "\n" + lines + "cat /etc/pkgfs/mounts/greetings.conf\n");
  EXPECT_THAT(out, HasSubstr("Guten Tag!\n"));
  EXPECT_THAT(out, HasSubstr("fuse.pkgfs"));
  EXPECT_THAT(out, HasSubstr("german.txt\n"));
  EXPECT_THAT(out, HasSubstr("PACKAGE=demo/greetings@^1\n"));
}

}  // namespace
}  // namespace pkgfs::test
