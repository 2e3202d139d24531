// SPDX-License-Identifier: MIT
#include "core/base/file_kind.h"

#include <algorithm>
#include <array>
#include <fstream>

#include "core/base/ascii.h"

namespace pkgfs {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kHtmlBytes = 1024;  // comments and blanks may stand in front of the first element

struct Kind {
  std::size_t at;
  std::string_view magic;
  std::string_view name;
};

constexpr std::array kKinds{
    Kind{0, "\0asm"sv, "a WebAssembly module"},
    Kind{0, "PK\x03\x04"sv, "a ZIP archive"},
    Kind{0, "PK\x05\x06"sv, "a ZIP archive"},
    Kind{0, "\x28\xb5\x2f\xfd"sv, "zstd-compressed data"},
    Kind{0,
         "\xfd"
         "7zXZ\0"sv,
         "xz-compressed data"},
    Kind{0, "BZh"sv, "bzip2-compressed data"},
    Kind{0, "7z\xbc\xaf\x27\x1c"sv, "a 7-Zip archive"},
    Kind{0,
         "\x7f"
         "ELF"sv,
         "an ELF program or library"},
    Kind{0, "!<arch>\ndebian-binary"sv, "a Debian package"},
    Kind{0, "\xed\xab\xee\xdb"sv, "an RPM package"},
    Kind{0, "hsqs"sv, "a squashfs image"},
    Kind{257, "ustar"sv, "a tar archive that isn't compressed"},
};

std::string_view text_of(std::span<const std::byte> bytes) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes as text
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_html_text(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) {
    text.remove_prefix(3);
  }
  text = text.substr(0, kHtmlBytes);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  if (!text.starts_with('<')) {
    return false;
  }
  const std::string lower = to_lower(std::string(text));
  return lower.starts_with("<!doctype html") || lower.find("<html") != std::string::npos ||
         lower.starts_with("<head") || lower.starts_with("<title");
}

}  // namespace

std::optional<std::string_view> file_kind(std::span<const std::byte> bytes) {
  const std::string_view text = text_of(bytes);
  const auto* const found = std::ranges::find_if(kKinds, [&](const Kind& kind) {
    return text.size() >= kind.at + kind.magic.size() && text.substr(kind.at, kind.magic.size()) == kind.magic;
  });
  if (found != kKinds.end()) {
    return found->name;
  }
  return is_html(bytes) ? std::optional("an HTML page"sv) : std::nullopt;
}

bool is_html(std::span<const std::byte> bytes) { return is_html_text(text_of(bytes)); }

bool is_html_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string start(kHtmlBytes + 3, '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<std::size_t>(file.gcount()));
  return is_html_text(start);
}

}  // namespace pkgfs
