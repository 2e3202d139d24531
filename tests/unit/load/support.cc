// SPDX-License-Identifier: MIT
#include "tests/unit/load/support.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <clocale>
#include <span>
#include <stdexcept>

#include "core/package/package_info.h"
#include "core/source/memory_source.h"
#include "core/vfs/walk.h"
#include "tests/support/process.h"

namespace pkgfs::test {

namespace {

std::string read_all(vfs::FileSystem& fs, vfs::Inode inode) {
  const auto file = fs.open(inode);
  if (!file) {
    return "<errno " + std::to_string(file.error()) + ">";
  }
  std::string text;
  std::string buffer(1U << 16U, '\0');
  while (true) {
    const auto count = (*file)->read(text.size(), std::as_writable_bytes(std::span(buffer)));
    if (!count) {
      return "<errno " + std::to_string(count.error()) + ">";
    }
    if (*count == 0) {
      return text;
    }
    text.append(buffer, 0, *count);
  }
}

Json entry_json(vfs::FileSystem& fs, const vfs::WalkStep& step) {
  Json json;
  json["path"] = step.path.empty() ? "/" : step.path;
  if (step.error != 0) {
    json["error"] = step.error;
    return json;
  }
  const auto& attributes = step.attributes;
  std::int64_t nanoseconds = 0;  // the reference wraps around, too
  static_cast<void>(__builtin_mul_overflow(attributes.modified, 1'000'000'000, &nanoseconds));
  static_cast<void>(__builtin_add_overflow(nanoseconds, attributes.modified_ns, &nanoseconds));
  json["mtime_ns"] = nanoseconds;
  switch (attributes.type) {
    case vfs::FileType::kDirectory:
      json["type"] = "dir";
      break;
    case vfs::FileType::kFile:
      json["type"] = "file";
      json["len"] = attributes.size;
      json["sha256"] = to_hex(sha256(read_all(fs, step.inode)));
      break;
    case vfs::FileType::kSymlink:
      json["type"] = "symlink";
      json["target"] = std::string(fs.read_link(step.inode).value_or("<error>"));
      break;
  }
  return json;
}

}  // namespace

Json listing(vfs::FileSystem& fs) {
  std::vector<Json> entries;
  for (vfs::TreeWalk walk(fs, fs.root()); walk.next();) {
    if (!walk.step().leaving || walk.step().error != 0) {
      entries.push_back(entry_json(fs, walk.step()));
    }
  }
  std::ranges::sort(entries, {}, [](const Json& entry) { return entry["path"].get<std::string>(); });
  return entries;
}

std::string content(vfs::FileSystem& fs, const std::string& path) {
  const auto entry = vfs::find_path(fs, path);
  if (!entry) {
    return "<errno " + std::to_string(entry.error()) + ">";
  }
  std::string text = read_all(fs, entry->inode);
  fs.forget(entry->inode, 1);
  return text;
}

PackageTree load_alone(const std::shared_ptr<const Package>& package, const TreeOptions& options) {
  const PackageInfo info = info_from_manifest(id_from_manifest(package->manifest(), package->hash()),
                                              package->manifest(), package->webc_version());
  MemorySource empty;
  PackageLoader loader({});
  return load_package_tree(package, loader, resolve(info, empty), options);
}

PackageTree load_alone(const std::string& path, const TreeOptions& options, const OpenOptions& open_options) {
  return load_alone(open_package(path, open_options), options);
}

TreeOptions only_files() {
  TreeOptions options;
  options.commands_dir = std::nullopt;
  return options;
}

void unpack_sources(const std::filesystem::path& directory) {
  const ProcessResult result = run({"tar", "-xzf", fixtures() / "sources/sources.tar.gz", "-C", directory.string()});
  if (!result.ok()) {
    throw std::runtime_error(result.describe());
  }
}

void write_tarball(const std::filesystem::path& path, const std::vector<TarEntry>& entries) {
  const locale_t utf8 = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);  // or libarchive refuses other names
  const locale_t before = ::uselocale(utf8);
  struct archive* archive = ::archive_write_new();
  ::archive_write_add_filter_gzip(archive);
  ::archive_write_set_format_pax_restricted(archive);
  if (::archive_write_open_filename(archive, path.c_str()) != ARCHIVE_OK) {
    throw std::runtime_error("can't write " + path.string());
  }
  for (const auto& item : entries) {
    struct archive_entry* entry = ::archive_entry_new();
    ::archive_entry_set_pathname(entry, item.name.c_str());
    ::archive_entry_set_perm(entry, 0644);
    ::archive_entry_set_mtime(entry, item.modified, 0);
    const auto types = std::map<char, unsigned>{{'f', AE_IFREG}, {'d', AE_IFDIR}, {'l', AE_IFLNK},
                                                {'h', AE_IFREG}, {'c', AE_IFCHR}, {'p', AE_IFIFO}};
    ::archive_entry_set_filetype(entry, types.at(item.type));
    if (item.type == 'l') {
      ::archive_entry_set_symlink(entry, item.target.c_str());
    } else if (item.type == 'h') {
      ::archive_entry_set_hardlink(entry, item.target.c_str());
    } else if (item.type == 'f') {
      ::archive_entry_set_size(entry, static_cast<la_int64_t>(item.content.size()));
    }
    if (::archive_write_header(archive, entry) != ARCHIVE_OK) {
      throw std::runtime_error(::archive_error_string(archive));
    }
    if (item.type == 'f' && !item.content.empty()) {
      (void)::archive_write_data(archive, item.content.data(), item.content.size());
    }
    ::archive_entry_free(entry);
  }
  ::archive_write_close(archive);
  ::archive_write_free(archive);
  ::uselocale(before);
  ::freelocale(utf8);
}

FakePackage::FakePackage(std::string name, const Json& manifest, const std::map<std::string, std::string>& atoms)
    : name_(std::move(name)), manifest_(webc::manifest_from_json(manifest)), hash_(sha256(name_)) {
  for (const auto& [atom, text] : atoms) {
    const auto bytes = std::as_bytes(std::span(text));
    auto source = std::make_shared<MemoryBytes>(atom, std::vector<std::byte>(bytes.begin(), bytes.end()));
    atoms_.push_back({.name = atom, .body = {.source = source, .offset = 0, .length = text.size()}});
  }
}

}  // namespace pkgfs::test
