// SPDX-License-Identifier: MIT
#include "core/base/file_kind.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

using namespace std::string_literals;

std::string kind_of(std::string_view text) {
  return std::string(file_kind(std::as_bytes(std::span(text.data(), text.size()))).value_or("-"));
}

TEST(FileKind, NamesWhatUsersTakeForPackages) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"\0asm\1\0\0\0"s, "a WebAssembly module"},
      {"PK\x03\x04...."s, "a ZIP archive"},
      {"\x7f"s + "ELF\2\1\1", "an ELF program or library"},
      {"!<arch>\ndebian-binary   1", "a Debian package"},
      {std::string(257, 'x') + "ustar\0"s, "a tar archive that isn't compressed"},
      {"<!DOCTYPE html>\n<title>x</title>", "an HTML page"},
      {"\xef\xbb\xbf \n<!-- x -->\n<HTML lang=en>", "an HTML page"},
      {"\0webc003"s, "-"},
      {"<?xml version='1.0'?><feed/>", "-"},
      {"html", "-"},
      {"", "-"},
      {"\x7f"s + "EL", "-"},
  };
  for (const auto& [content, kind] : rows) {
    EXPECT_EQ(kind_of(content), kind) << content;
  }
}

TEST(FileKind, LooksIntoFiles) {
  const TempDir dir;
  EXPECT_TRUE(is_html_file(dir.write("a", "<html>")));
  EXPECT_FALSE(is_html_file(dir.write("b", "text <html>")));
  EXPECT_FALSE(is_html_file(dir.write("c", "")));
  EXPECT_FALSE(is_html_file(dir.path() / "none"));
}

}  // namespace
}  // namespace pkgfs::test
