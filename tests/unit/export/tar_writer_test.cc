// SPDX-License-Identifier: MIT
// Risk: a header holds a wrong path, or an archive has extended headers that it doesn't need.
#include "core/export/tar_writer.h"

#include <string>

#include <gtest/gtest.h>

namespace pkgfs {
namespace {

class StringSink final : public ByteSink {
 public:
  using ByteSink::write;
  void write(std::span<const std::byte> bytes) override {
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// The first header of an archive of one entry: type, prefix and name.
struct First {
  char type = 0;
  std::string prefix;
  std::string name;
  friend bool operator==(const First&, const First&) = default;
};

First header_of(const std::string& path, vfs::FileType type = vfs::FileType::kFile) {
  StringSink sink;
  TarWriter tar(sink);
  ExportEntry entry{.path = path, .name = {}, .inode = 0, .attributes = {}};
  entry.attributes.type = type;
  tar.add(entry);
  const auto field = [&](std::size_t at, std::size_t size) {
    const std::string text = sink.text().substr(at, size);
    return text.substr(0, text.find('\0'));
  };
  return {.type = sink.text().at(156), .prefix = field(345, 155), .name = field(0, 100)};
}

std::string of(std::size_t size) { return std::string(size, 'n'); }

TEST(TarWriter, SplitsALongPathAtASlash) {
  EXPECT_EQ(header_of(of(100)), (First{'0', "", of(100)}));
  EXPECT_EQ(header_of("a/" + of(100)), (First{'0', "a", of(100)}));
  EXPECT_EQ(header_of(of(155) + "/" + of(100)), (First{'0', of(155), of(100)}));
  EXPECT_EQ(header_of("a/" + of(98) + "/b"), (First{'0', "a/" + of(98), "b"}));
  EXPECT_EQ(header_of("a/" + of(98), vfs::FileType::kDirectory), (First{'5', "a", of(98) + "/"}))
      << "the slash at the end isn't where it is split";
}

TEST(TarWriter, APathThatCantBeSplitHasAnExtendedHeader) {
  for (const std::string& path : {of(101), "a/" + of(101), of(156) + "/" + of(100), of(156) + "/a"}) {
    EXPECT_EQ(header_of(path).type, 'x') << path;
  }
  EXPECT_EQ(header_of("a/" + of(100), vfs::FileType::kDirectory).type, 'x');
}

}  // namespace
}  // namespace pkgfs
