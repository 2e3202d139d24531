// SPDX-License-Identifier: MIT
#include "daemon/cli/mount_words.h"

#include <algorithm>
#include <array>

#include "core/base/error.h"
#include "daemon/cli/options.h"

namespace pkgfs {

namespace {

constexpr std::string_view kForMount = "mount(8) uses it";
constexpr std::string_view kAlways = "every mount has it";
constexpr std::string_view kShown = "the kernel shows it, and mount(8) repeats it to remount";
constexpr std::string_view kNoTimes = "pkgfs keeps no access times";
constexpr std::string_view kNoWrites = "a mount is read-only";
constexpr std::string_view kNoCommand =
    "a command in /etc/fstab would run with the rights of the mount: use \"pkgfs mount --on-change\"";
constexpr std::string_view kFewMessages = "--log-level and --quiet set the number of messages";

/// Keeps a word for the kernel's SELinux, which reads a value with commas in quotes.
void add_security(MountFlags& flags, std::string_view item) {
  const std::size_t equals = item.find('=');
  const std::string_view value = item.substr(equals + 1);
  if (value.empty() || value.find('"') != std::string_view::npos) {
    throw Error(ErrorCode::kUsage,
                "mount option '" + std::string(item.substr(0, equals)) + "' needs a context of SELinux");
  }
  const bool quoted = value.find(',') != std::string_view::npos;
  flags.security.push_back(quoted ? std::string(item.substr(0, equals + 1)) + '"' + std::string(value) + '"'
                                  : std::string(item));
}

constexpr std::array kMountWords{
    MountWord{"exec", false, "programs may run files of the mount (default)", false,
              [](MountFlags& flags, std::string_view) { flags.noexec = false; }},
    MountWord{"noexec", false, "no program may run a file of the mount", false,
              [](MountFlags& flags, std::string_view) { flags.noexec = true; }},
    MountWord{"symfollow", false, "the kernel follows symbolic links of the mount (default)", false,
              [](MountFlags& flags, std::string_view) { flags.nosymfollow = false; }},
    MountWord{"nosymfollow", false,
              "the kernel follows no symbolic link of the mount; programs can read them. Only root can use it, with "
              "Linux 5.14",
              false, [](MountFlags& flags, std::string_view) { flags.nosymfollow = true; }},
    MountWord{"context=", false, "SELinux shows this context for everything in the mount", false, add_security},
    MountWord{"fscontext=", false, "SELinux uses this context for the file system", false, add_security},
    MountWord{"defcontext=", false, "SELinux uses this context for files without one", false, add_security},
    MountWord{"rootcontext=", false, "SELinux uses this context for the root of the mount", false, add_security},
    MountWord{"remount", false,
              "with ro, pkgfs checks that a package is mounted there, and changes nothing. Without ro it is refused: "
              "to change a mount, unmount it and mount it again",
              false, [](MountFlags& flags, std::string_view) { flags.remount = true; }},
    MountWord{"ro", false, kAlways},
    MountWord{"nosuid", false, kAlways},
    MountWord{"nodev", false, kAlways},
    MountWord{"default_permissions", false, kAlways},
    MountWord{"nonempty", false, "pkgfs always mounts over a directory that is not empty, as libfuse 3"},
    MountWord{"user_id=", false, kShown},
    MountWord{"group_id=", false, kShown},
    MountWord{"max_read=", false, kShown},
    MountWord{"blksize=", false, kShown},
    MountWord{"seclabel", false, kShown},
    MountWord{"noatime", false, kNoTimes},
    MountWord{"nodiratime", false, kNoTimes},
    MountWord{"relatime", false, kNoTimes},
    MountWord{"norelatime", false, kNoTimes},
    MountWord{"atime", false, kNoTimes},
    MountWord{"diratime", false, kNoTimes},
    MountWord{"strictatime", false, kNoTimes},
    MountWord{"nostrictatime", false, kNoTimes},
    MountWord{"lazytime", false, kNoTimes},
    MountWord{"nolazytime", false, kNoTimes},
    MountWord{"async", false, kNoWrites},
    MountWord{"sync", false, kNoWrites},
    MountWord{"dirsync", false, kNoWrites},
    MountWord{"mand", false, kNoWrites},
    MountWord{"nomand", false, kNoWrites},
    MountWord{"silent", false, kFewMessages},
    MountWord{"loud", false, kFewMessages},
    MountWord{"defaults", false, kForMount},
    MountWord{"auto", false, kForMount},
    MountWord{"noauto", false, kForMount},
    MountWord{"nofail", false, kForMount},
    MountWord{"_netdev", false, kForMount},
    MountWord{"user", false, kForMount},
    MountWord{"user=", false, kForMount},
    MountWord{"nouser", false, kForMount},
    MountWord{"users", false, kForMount},
    MountWord{"nousers", false, kForMount},
    MountWord{"owner", false, kForMount},
    MountWord{"noowner", false, kForMount},
    MountWord{"group", false, kForMount},
    MountWord{"nogroup", false, kForMount},
    MountWord{"comment=", false, kForMount},
    MountWord{"x-*", false, kForMount},
    MountWord{"X-*", false, kForMount},
    MountWord{"rw", true, "a package is always mounted read-only", true},
    MountWord{"suid", true, "a package is always mounted nosuid", true},
    MountWord{"dev", true, "a package is always mounted nodev", true},
    MountWord{"fsname=", true, "the daemon sets it to the package"},
    MountWord{"subtype=", true, "the daemon sets it"},
    MountWord{
        "token=", true,
        "other users can read mount options, for example in /etc/fstab: set WASMER_TOKEN, or run \"wasmer login\" "
        "as the user who mounts"},
    MountWord{"on-change=", true, kNoCommand},
    MountWord{"on_change=", true, kNoCommand},
    MountWord{"foreground", true,
              "with it, mount(8) would not return before the mount ends: use \"pkgfs mount --foreground\""},
};

bool matches(const MountWord& row, std::string_view item) {
  const std::string_view stem = row.word.substr(0, row.word.size() - 1);
  if (row.word.ends_with('*')) {
    return item.starts_with(stem);
  }
  if (row.word.ends_with('=')) {
    // A refused word is refused without a value, too: the reason helps more than "unknown".
    return item.starts_with(row.word) || (row.refused && item == stem);
  }
  return item == row.word;
}

}  // namespace

std::span<const MountWord> mount_words() { return kMountWords; }

const MountWord* find_mount_word(std::string_view item) {
  const auto* found = std::ranges::find_if(kMountWords, [&](const MountWord& row) { return matches(row, item); });
  return found == kMountWords.end() ? nullptr : found;
}

std::vector<std::string> split_mount_words(std::string_view text) {
  std::vector<std::string> items(1);
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool escaped = c == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\');
    // Quotes enclose a whole value; elsewhere a quotation mark is an ordinary character.
    const bool opens = !quoted && c == '"' && items.back().ends_with('=') && text.find('"', i + 1) != text.npos;
    const bool closes = quoted && c == '"';
    if (escaped) {
      items.back() += text[++i];
    } else if (opens || closes) {
      quoted = opens;
    } else if (c == ',' && !quoted) {
      items.emplace_back();
    } else {
      items.back() += c;
    }
  }
  std::erase(items, "");
  return items;
}

}  // namespace pkgfs
