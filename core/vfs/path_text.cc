// SPDX-License-Identifier: MIT
#include "core/vfs/path_text.h"

#include <algorithm>
#include <cstddef>

namespace pkgfs::vfs {
namespace {

constexpr std::uint64_t kTopBit = 1ULL << 63U;

// The finaliser of MurmurHash3: spreads what FNV leaves in the low bits.
std::uint64_t mix(std::uint64_t hash) {
  hash ^= hash >> 33U;
  hash *= 0xff51afd7ed558ccdULL;
  hash ^= hash >> 33U;
  hash *= 0xc4ceb9fe1a85ec53ULL;
  return hash ^ (hash >> 33U);
}

// Applies `components` to `base`; ".." at the top stays there.
void append_clamped(std::vector<std::string_view>& base, const std::vector<std::string_view>& components) {
  for (const std::string_view component : components) {
    if (component != "..") {
      base.push_back(component);
    } else if (!base.empty()) {
      base.pop_back();
    }
  }
}

std::string relative_path(const std::vector<std::string_view>& from, const std::vector<std::string_view>& to) {
  const auto [left, right] = std::mismatch(from.begin(), from.end(), to.begin(), to.end());
  std::string text;
  for (auto it = left; it != from.end(); ++it) {
    text += text.empty() ? ".." : "/..";
  }
  for (auto it = right; it != to.end(); ++it) {
    text += text.empty() ? "" : "/";
    text += *it;
  }
  return text.empty() ? "." : text;
}

}  // namespace

std::vector<std::string_view> path_components(std::string_view path) {
  std::vector<std::string_view> components;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    if (!component.empty() && component != ".") {
      components.push_back(component);
    }
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  }
  return components;
}

std::string join_path(std::string_view dir, std::string_view name) {
  std::string path(dir);
  if (!path.ends_with('/')) {
    path += '/';
  }
  return path += name;
}

std::string absolute_path(const std::vector<std::string_view>& components) {
  std::string path;
  for (const std::string_view component : components) {
    path += '/';
    path += component;
  }
  return path.empty() ? "/" : path;
}

bool path_covers(std::string_view prefix, std::string_view path) {
  return prefix == "/" || (path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/'));
}

bool path_before(std::string_view a, std::string_view b) {
  if (a == "/" || b == "/") {
    return a == "/" && b != "/";
  }
  const auto [left, right] = std::ranges::mismatch(a, b);
  if (left == a.end() || right == b.end()) {
    return left == a.end() && right != b.end();
  }
  const auto rank = [](char c) { return c == '/' ? 0 : static_cast<unsigned>(static_cast<unsigned char>(c)); };
  return rank(*left) < rank(*right);  // no name has a NUL
}

std::size_t path_depth(std::string_view path) {
  return path == "/" ? 0 : static_cast<std::size_t>(std::ranges::count(path, '/'));
}

std::string_view path_below(std::string_view prefix, std::string_view path) {
  if (prefix == "/") {
    return path;
  }
  const std::string_view rest = path.substr(prefix.size());
  return rest.empty() ? std::string_view("/") : rest;
}

std::uint64_t path_number(std::uint64_t parent, std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL ^ mix(parent);  // FNV-1a, seeded with the parent
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  hash = mix(hash) & ~kTopBit;
  return hash <= kRootNumber ? hash + 2 : hash;
}

std::uint64_t hash_of(std::uint64_t hash, std::uint64_t value) { return mix(mix(hash) ^ value); }

std::uint64_t hash_of(std::uint64_t hash, std::string_view text) {
  hash = mix(hash) ^ text.size();
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  return hash;
}

std::uint64_t host_number(std::uint64_t device, std::uint64_t inode) { return mix(mix(device) ^ inode) | kTopBit; }

bool link_climbs(std::string_view target, std::size_t depth) {
  while (!target.empty()) {
    const std::string_view component = target.substr(0, target.find('/'));
    target.remove_prefix(std::min(target.size(), component.size() + 1));
    if (component == "..") {
      if (depth-- == 0) {
        return true;
      }
    } else if (!component.empty() && component != ".") {
      ++depth;
    }
  }
  return false;
}

std::optional<std::string> clamp_link(std::string_view target, std::string_view dir, const Mapping& mapping) {
  const std::vector<std::string_view> steps = path_components(target);
  const std::vector<std::string_view> visible_dir = path_components(dir);
  std::vector<std::string_view> in_volume;
  if (!target.starts_with('/')) {
    in_volume = path_components(mapping.source_path);
    append_clamped(in_volume, path_components(path_below(mapping.mount_path, dir)));
    if (!link_climbs(target, std::min(in_volume.size(), visible_dir.size()))) {
      return std::nullopt;
    }
  }
  append_clamped(in_volume, steps);
  const std::string volume_path = absolute_path(in_volume);
  const std::string_view shown = path_covers(mapping.source_path, volume_path)
                                     ? path_below(mapping.source_path, volume_path)
                                     : std::string_view(volume_path);
  std::vector<std::string_view> visible = path_components(mapping.mount_path);
  append_clamped(visible, path_components(shown));
  return relative_path(visible_dir, visible);
}

}  // namespace pkgfs::vfs
