// SPDX-License-Identifier: MIT
#include "core/load/ignore_rules.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/limits.h"
#include "core/load/host_path.h"

namespace pkgfs {

namespace {

constexpr const char* kIgnoreName = ".wasmerignore";
/// The rest of a longer ignore file is not read.
constexpr std::size_t kIgnoreBytes = 1U << 20U;

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const auto end = std::min(path.find('/'), path.size());
    if (end > 0) {
      parts.emplace_back(path.substr(0, end));
    }
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return parts;
}

/// Matches a bracket expression at `pattern[at]` against `c` and moves `at` behind it. False and `at` unchanged when
/// the expression isn't closed: then "[" matches itself.
bool match_bracket(std::string_view pattern, std::size_t& at, char c, bool& matched) {
  std::size_t i = at + 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  i += negated ? 1 : 0;
  bool hit = false;
  for (bool first = true; i < pattern.size() && (first || pattern[i] != ']'); first = false) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      ++i;
    }
    const auto low = static_cast<unsigned char>(pattern[i]);
    auto high = low;
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
      high = static_cast<unsigned char>(pattern[i + 2]);
      i += 2;
    }
    const auto byte = static_cast<unsigned char>(c);
    hit = hit || (low <= byte && byte <= high);
    ++i;
  }
  if (i >= pattern.size()) {
    return false;
  }
  at = i + 1;
  matched = hit != negated;
  return true;
}

/// One name against one pattern component: `*`, `?`, `[...]`, `\`. Goes back to the last `*` only, so it takes at most
/// pattern times name steps.
bool match_name(std::string_view pattern, std::string_view name) {
  std::size_t p = 0;
  std::size_t n = 0;
  std::size_t star = std::string_view::npos;
  std::size_t star_name = 0;
  while (n < name.size()) {
    bool ok = false;
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_name = n;
      continue;
    }
    if (p < pattern.size()) {
      auto next = p;
      bool in_set = false;
      if (pattern[p] == '[' && match_bracket(pattern, next, name[n], in_set)) {
        ok = in_set;
      } else {
        next = p + (pattern[p] == '\\' && p + 1 < pattern.size() ? 1 : 0);
        ok = (pattern[p] == '?') || pattern[next] == name[n];
        ++next;
      }
      if (ok) {
        p = next;
        ++n;
      }
    }
    if (!ok) {
      if (star == std::string_view::npos) {
        return false;
      }
      p = star + 1;
      n = ++star_name;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') {
    ++p;
  }
  return p == pattern.size();
}

/// A path against pattern components, where `**` stands for any number of names, at least one at the end.
bool match_path(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  std::vector<char> reached(path.size() + 1, 0);  // reached[n]: the pattern so far matches the first n names
  reached[0] = 1;
  for (std::size_t p = 0; p < pattern.size(); ++p) {
    std::vector<char> next(path.size() + 1, 0);
    const bool any = pattern[p] == "**";
    const bool last = p + 1 == pattern.size();
    bool before = false;
    for (std::size_t n = 0; n <= path.size(); ++n) {
      if (any) {
        next[n] = static_cast<char>(before || (!last && reached[n] != 0));
        before = before || reached[n] != 0;
      } else if (n > 0 && reached[n - 1] != 0) {
        next[n] = static_cast<char>(match_name(pattern[p], path[n - 1]));
      }
    }
    reached = std::move(next);
  }
  return reached.back() != 0;
}

/// The directory that `path` is in; "" at the top.
std::string_view parent_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return path.substr(0, slash == std::string_view::npos ? 0 : slash);
}

/// The ignore file in `directory` ("" or a path below `root`); null if there is none.
std::shared_ptr<const IgnoreFile> read_rules(int root, std::string_view directory, bool beneath) {
  const std::string path = directory.empty() ? kIgnoreName : std::string(directory) + "/" + kIgnoreName;
  struct open_how how{};
  how.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_MAGICLINKS | (beneath ? RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS : 0U);
  UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
  if (!fd && (errno == ENOSYS || errno == EPERM)) {  // as in open_host_path
    const int flags = static_cast<int>(how.flags);
    fd = beneath ? walk_host_path(root, HostPath::parse(path), flags | O_NOFOLLOW)
                 : UniqueFd(::openat(root, path.c_str(), flags));
  }
  struct stat status{};
  if (!fd || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return nullptr;
  }
  std::string text(kIgnoreBytes, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const auto count = ::read(fd.get(), text.data() + size, text.size() - size);
    if (count <= 0) {
      break;
    }
    size += static_cast<std::size_t>(count);
  }
  text.resize(size);
  return std::make_shared<const IgnoreFile>(text);
}

}  // namespace

IgnoreFile::IgnoreFile(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) {
    text.remove_prefix(3);
  }
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    while (line.ends_with(' ') && !line.ends_with("\\ ")) {
      line.remove_suffix(1);
    }
    if (line.empty() || line.starts_with('#')) {
      continue;
    }
    Pattern pattern;
    if (line.starts_with('!')) {
      pattern.keep = true;
      line.remove_prefix(1);
    }
    if (line.ends_with('/')) {
      pattern.directory_only = true;
      line.remove_suffix(1);
    }
    const bool anchored = line.find('/') != std::string_view::npos;
    pattern.components = split(line);
    if (pattern.components.empty()) {
      continue;
    }
    if (!anchored) {
      pattern.components.insert(pattern.components.begin(), "**");
    }
    patterns_.push_back(std::move(pattern));
  }
}

IgnoreFile::Verdict IgnoreFile::verdict(std::string_view path, bool is_directory) const {
  const auto names = split(path);
  for (auto pattern = patterns_.rbegin(); pattern != patterns_.rend(); ++pattern) {
    if ((is_directory || !pattern->directory_only) && match_path(pattern->components, names)) {
      return pattern->keep ? Verdict::kKeep : Verdict::kIgnore;
    }
  }
  return Verdict::kNone;
}

IgnoreRules::IgnoreRules(int root) : root_(::fcntl(root, F_DUPFD_CLOEXEC, 0)) {
  // The path of the directory, for the ignore files in its real parents.
  const std::string link = "/proc/self/fd/" + std::to_string(root_.get());
  std::string path(limits::kLinkBytes, '\0');
  const auto length = ::readlink(link.c_str(), path.data(), path.size());
  path.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
  std::string below;
  while (path.size() > 1) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) {
      break;
    }
    below.insert(0, below.empty() ? "" : "/");
    below.insert(0, path, slash + 1);
    path.resize(slash);
    if (auto rules = read_rules(AT_FDCWD, path.empty() ? "/" : path, false)) {
      above_.push_back({.rules = std::move(rules), .below = below});
    }
  }
  skip_git_ = above_.empty() && nearest("") == nullptr;
}

IgnoreRules::LevelPtr IgnoreRules::nearest(std::string_view directory) const {
  const MutexLock lock(mutex_);
  std::vector<std::string_view> unread;
  auto known = nearest_.find(directory);
  while (known == nearest_.end()) {
    unread.push_back(directory);
    if (directory.empty()) {
      break;
    }
    directory = parent_of(directory);
    known = nearest_.find(directory);
  }
  LevelPtr level = known == nearest_.end() ? nullptr : known->second;
  for (auto next = unread.rbegin(); next != unread.rend(); ++next) {
    if (auto rules = read_rules(root_.get(), *next, true)) {
      level = std::make_shared<const Level>(
          Level{.rules = std::move(rules), .length = next->size(), .above = std::move(level)});
    }
    nearest_.emplace(*next, level);
  }
  return level;
}

bool IgnoreRules::hidden(std::string_view path, bool is_directory) const {
  const auto slash = path.rfind('/');
  const auto name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (skip_git_ && name == ".git") {
    return true;
  }
  for (LevelPtr level = nearest(parent_of(path)); level != nullptr; level = level->above) {
    const auto below = path.substr(level->length == 0 ? 0 : level->length + 1);
    if (const auto verdict = level->rules->verdict(below, is_directory); verdict != IgnoreFile::Verdict::kNone) {
      return verdict == IgnoreFile::Verdict::kIgnore;
    }
  }
  for (const auto& above : above_) {
    const auto verdict = above.rules->verdict(above.below + "/" + std::string(path), is_directory);
    if (verdict != IgnoreFile::Verdict::kNone) {
      return verdict == IgnoreFile::Verdict::kIgnore;
    }
  }
  return false;
}

}  // namespace pkgfs
