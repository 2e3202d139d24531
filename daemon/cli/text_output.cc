// SPDX-License-Identifier: MIT
#include "daemon/cli/text_output.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <ctime>

#include "daemon/cli/console.h"

namespace pkgfs {

std::string sentence(std::string_view text) {
  std::string result(text);
  if (result.empty()) {
    return result;
  }
  std::string_view rest = text.substr(std::min(text.find_first_of(" :"), text.size()));
  constexpr std::string_view kDefault = " (default)";
  rest.remove_prefix(rest.starts_with(kDefault) ? kDefault.size() : 0);
  if (!rest.starts_with(':')) {
    result.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(result.front())));
  }
  return result.ends_with('.') ? result : result + ".";
}

std::string wrapped(std::string_view text, std::size_t width, std::size_t indent) {
  std::string result;
  std::size_t used = indent;
  bool begins = true;  // a line that has no word yet
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    const bool breaks = end < text.size() && text[end] == '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!word.empty()) {
      const std::size_t columns = columns_of(word);
      if (!begins && used + 1 + columns > width) {
        result += '\n' + std::string(indent, ' ');
        used = indent;
        begins = true;
      }
      result += begins ? "" : " ";
      result += word;
      used += columns + (begins ? 0 : 1);
      begins = false;
    }
    if (breaks) {
      result += '\n' + std::string(indent, ' ');
      used = indent;
      begins = true;
    }
  }
  return result;
}

std::string mode_text(const vfs::Attributes& attributes) {
  std::string text(1, '-');
  if (attributes.type == vfs::FileType::kDirectory) {
    text = "d";
  } else if (attributes.type == vfs::FileType::kSymlink) {
    text = "l";
  }
  constexpr std::string_view kBits = "rwxrwxrwx";
  for (unsigned bit = 0; bit < kBits.size(); ++bit) {
    text += ((attributes.mode >> (8U - bit)) & 1U) != 0 ? kBits[bit] : '-';
  }
  return text;
}

std::string time_text(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  std::array<char, 32> text{};
  constexpr std::int64_t kYear10000 = 253402300800;  // a wider text would break the columns
  if (seconds >= kYear10000 || seconds < -kYear10000 || ::gmtime_r(&time, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts) == 0) {
    return "@" + std::to_string(seconds);
  }
  return text.data();
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array kUnits{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  constexpr double kStep = 1024;
  if (bytes < 1024) {
    return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
  }
  double value = static_cast<double>(bytes) / kStep;
  std::size_t unit = 0;
  while (value >= kStep && unit + 1 < kUnits.size()) {
    value /= kStep;
    ++unit;
  }
  std::array<char, 32> text{};
  const int length = std::snprintf(text.data(), text.size(), "%.1f %s", value, kUnits.at(unit));
  return {text.data(), static_cast<std::size_t>(length)};
}

std::string error_text(const Error& error) { return "pkgfs: error: " + std::string(error.what()) + "\n"; }

}  // namespace pkgfs
