// SPDX-License-Identifier: MIT
#include "core/vfs/name_index.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/vfs/walk.h"

namespace pkgfs::vfs {

void NameIndex::list(FileSystem& fs, Inode dir, Directory& directory) {
  directory.listed = true;
  const Result<void> listed = fs.list_stored(dir, 0, [&](std::uint64_t position, const DirEntry& entry) {
    directory.names.push_back({entry.name, position});
    return true;
  });
  directory.error = listed ? 0 : listed.error();
  const auto by_name = [](const Name& a, const Name& b) { return a.name < b.name; };
  if (!std::is_sorted(directory.names.begin(), directory.names.end(), by_name)) {
    std::stable_sort(directory.names.begin(), directory.names.end(), by_name);
  }
}

const NameIndex::Name* NameIndex::find(const Directory& directory, std::string_view name) {
  const auto found = std::ranges::lower_bound(directory.names, name, {}, &Name::name);
  return found == directory.names.end() || found->name != name ? nullptr : &*found;
}

Result<Entry> NameIndex::entry_at(FileSystem& fs, Inode dir, const Name& name) {
  Result<Entry> entry = fail(ENOENT);
  const Result<void> listed = fs.list_stored(dir, name.position, [&](std::uint64_t, const DirEntry& found) {
    if (found.name == name.name) {
      entry = found.error == 0 ? Result<Entry>(Entry{found.inode, found.attributes}) : fail(found.error);
    }
    return false;
  });
  if (!listed) {
    return fail(listed.error());
  }
  return entry;
}

Result<Entry> NameIndex::lookup(FileSystem& fs, Inode dir, std::string_view name) {
  Directory& here = directory(fs, dir);
  if (!std::exchange(here.asked, true) && !here.listed) {
    return fs.lookup(dir, name);
  }
  if (!here.listed) {
    list(fs, dir, here);
  }
  if (here.error != 0) {
    return fail(here.error);
  }
  const Name* const found = find(here, name);
  return found == nullptr ? fail(ENOENT) : entry_at(fs, dir, *found);
}

Result<Entry> NameIndex::find(FileSystem& fs, bool live, std::string_view path) {
  if (live) {
    return find_path(fs, path);
  }
  const Result<Attributes> root = fs.metadata(fs.root());
  if (!root) {
    return fail(root.error());
  }
  Entry here{fs.root(), *root};
  for (std::size_t begin = 1; begin < path.size();) {
    const std::string_view name = path.substr(begin, path.find('/', begin) - begin);
    begin += name.size() + 1;
    const Result<Entry> found =
        here.attributes.type == FileType::kDirectory ? lookup(fs, here.inode, name) : fail(ENOTDIR);
    if (!found) {
      return found;
    }
    here = *found;
  }
  return here;
}

Result<void> NameIndex::intersect_live(FileSystem& fs, Inode dir, const std::vector<std::string_view>& names,
                                       FunctionRef<void(std::size_t index, const Result<Entry>& entry)> found) {
  constexpr std::size_t kMostAsked = 32;  // without listing the directory
  std::vector<std::size_t> wanted;
  if (names.size() <= kMostAsked) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      wanted.push_back(i);
    }
  } else {
    const Result<void> listed = fs.read_dir(dir, 0, [&](const DirEntry& entry) {
      const auto name = std::ranges::lower_bound(names, entry.name);
      if (name != names.end() && *name == entry.name) {
        wanted.push_back(static_cast<std::size_t>(name - names.begin()));
      }
      return true;
    });
    if (!listed) {
      return listed;
    }
  }
  for (const std::size_t i : wanted) {
    if (const Result<Entry> entry = fs.lookup(dir, names[i]); entry || entry.error() != ENOENT) {
      found(i, entry);
    }
  }
  return {};
}

Result<void> NameIndex::intersect(FileSystem& fs, bool live, Inode dir, const std::vector<std::string_view>& names,
                                  FunctionRef<void(std::size_t index, const Result<Entry>& entry)> found) {
  if (names.empty()) {
    return {};  // a large directory isn't listed for nothing
  }
  if (live) {
    return intersect_live(fs, dir, names, found);
  }
  constexpr std::size_t kFew = 4;  // names that don't make it list a directory, if they are the first question
  Directory& here = directory(fs, dir);
  if (names.size() <= kFew && !here.listed && !std::exchange(here.asked, true)) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (const Result<Entry> entry = fs.lookup(dir, names[i]); entry || entry.error() != ENOENT) {
        found(i, entry);
      }
    }
    return {};
  }
  if (!here.listed) {
    list(fs, dir, here);
  }
  if (here.error != 0) {
    return fail(here.error);
  }
  if (names.size() <= here.names.size()) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (const Name* const name = find(here, names[i])) {
        found(i, entry_at(fs, dir, *name));
      }
    }
    return {};
  }
  for (std::size_t i = 0; i < here.names.size(); ++i) {
    const auto wanted = std::ranges::lower_bound(names, here.names[i].name);
    const bool first = i == 0 || here.names[i - 1].name != here.names[i].name;
    if (first && wanted != names.end() && *wanted == here.names[i].name) {
      found(static_cast<std::size_t>(wanted - names.begin()), entry_at(fs, dir, here.names[i]));
    }
  }
  return {};
}

}  // namespace pkgfs::vfs
