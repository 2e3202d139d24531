// SPDX-License-Identifier: MIT
#include "tests/fuzz/package_set.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "core/base/unique_fd.h"
#include "core/load/container_package.h"
#include "core/package/package_info.h"
#include "core/source/memory_source.h"
#include "core/vfs/path_text.h"
#include "core/vfs/walk.h"
#include "core/webc/tree_volume.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/fixtures.h"

namespace pkgfs::fuzz {
namespace {

using Bytes = std::vector<std::byte>;

constexpr const char* kVersion = "1.0.0";
constexpr std::array kNames{"a", "b", "bin", "run", "\xc3\xa9", "x"};
constexpr std::array kVolumes{"atom", "a", "/b"};
constexpr std::array kMounts{"/", "/a", "/a/b", "/bin", "/bin/run", "b/../x", "/a/b/x/a"};

std::string pick_path(FuzzedDataProvider& bytes) {
  std::string path;
  for (unsigned left = bytes.ConsumeIntegralInRange(1U, 4U); left > 0; --left) {
    path += (path.empty() ? "" : "/") + std::string(bytes.PickValueInArray(kNames));
  }
  return path;
}

/// A container of version 1, which nothing of pkgfs writes.
Bytes pick_fixture(FuzzedDataProvider& bytes) {
  static const auto files = [] {
    std::vector<std::string> all;
    for (const char* name : {"basic", "bundle", "deep", "empties", "names", "order", "volumes"}) {
      all.push_back(test::read_text(test::fixtures() / "webc" / (std::string(name) + "-v1.webc")));
    }
    return all;
  }();
  const std::string& file = files[bytes.ConsumeIntegralInRange<std::size_t>(0, files.size() - 1)];
  const auto all = std::as_bytes(std::span(file));
  return {all.begin(), all.end()};
}

/// Answers the name of the volume.
std::string add_volume(FuzzedDataProvider& bytes, const std::string& package, bool links,
                       test::PackageBuilder& builder) {
  std::string volume = bytes.PickValueInArray(kVolumes);
  builder.directory(volume, "");
  for (unsigned left = bytes.ConsumeIntegralInRange(0U, 12U); left > 0; --left) {
    const std::string path = pick_path(bytes);
    const unsigned kind = bytes.ConsumeIntegralInRange(0U, 9U);
    if (kind == 0) {
      builder.directory(volume, path);
    } else if (kind == 1 && links) {
      builder.link(volume, path, "../" + pick_path(bytes));
    } else {  // no two files of the set have the same bytes
      builder.file(volume, path, package + volume + path + std::string(bytes.ConsumeIntegral<unsigned char>(), '.'));
    }
  }
  return volume;
}

/// The member `index` of `count`; it depends on those behind it only, so that there is no cycle.
Bytes write_package(FuzzedDataProvider& bytes, const std::string& name, std::size_t index, std::size_t count) {
  const bool is_v3 = bytes.ConsumeBool();
  test::PackageBuilder builder(name + "@" + kVersion, is_v3 ? webc::Version::kV3 : webc::Version::kV2);
  std::array<std::string, 2> volumes;
  for (std::string& volume : volumes) {
    volume = add_volume(bytes, name, is_v3, builder);
  }
  std::optional<std::string> alias;
  for (std::size_t other = index + 1; other < count; ++other) {
    if (bytes.ConsumeIntegralInRange(0U, 3U) != 0) {
      alias = "p" + std::to_string(other);
      builder.use(*alias, "acme/" + *alias + "@*");
    }
  }
  for (unsigned left = bytes.ConsumeIntegralInRange(0U, 3U); left > 0; --left) {
    const unsigned kind = bytes.ConsumeIntegralInRange(0U, 7U);
    builder.mount(bytes.PickValueInArray(kMounts), bytes.PickValueInArray(volumes), kind == 1 ? alias : std::nullopt,
                  kind > 4 ? std::optional("/" + pick_path(bytes)) : std::nullopt);
  }
  if (bytes.ConsumeBool()) {
    builder.command(bytes.PickValueInArray(kNames), "atom of " + name);
  }
  return builder.bytes();
}

const webc::Tree* tree_of(const webc::Container& container, const std::string& volume) {
  const auto found = std::dynamic_pointer_cast<const webc::TreeVolume>(container.find_volume(volume));
  return found == nullptr ? nullptr : &found->tree();
}

std::optional<webc::Child> find_child(const webc::Tree& tree, const webc::ByteRange& table, std::string_view name) {
  for (webc::Cursor cursor = tree.children(table); !cursor.done();) {
    const auto child = tree.next(cursor);
    if (!child || child->name == name) {
      return child ? std::optional(*child) : std::nullopt;
    }
  }
  return std::nullopt;
}

std::shared_ptr<const webc::Container> open_container(const std::string& name, const Bytes& bytes) {
  return webc::Container::open(std::make_shared<MemoryBytes>(name, bytes));
}

PackageInfo info_of(const std::string& name, const webc::Container& container) {
  return info_from_manifest(NamedId{.full_name = name, .version = Version::parse(kVersion)}, container.manifest(),
                            static_cast<int>(container.version()));
}

/// A file without a name, which the loader opens by the path of its descriptor.
UniqueFd file_of(const Bytes& bytes) {
  UniqueFd fd(::memfd_create("fuzz", MFD_CLOEXEC));
  if (::write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    std::abort();
  }
  return fd;
}

std::optional<std::string> content_of(vfs::FileSystem& fs, const vfs::WalkStep& step) {
  const auto file = fs.open(step.inode);
  std::string content(step.attributes.size + 1, '\0');
  const auto count = file ? (*file)->read(0, std::as_writable_bytes(std::span(content))) : fail(file.error());
  if (!count) {
    return std::nullopt;
  }
  if (*count != step.attributes.size) {
    std::abort();
  }
  content.pop_back();
  return content;
}

}  // namespace

Files read_files(vfs::FileSystem& fs) {
  Files files;
  for (vfs::TreeWalk walk(fs, fs.root()); walk.next();) {
    const vfs::WalkStep& step = walk.step();
    if (step.leaving || step.error != 0) {
      continue;
    }
    if (step.attributes.type == vfs::FileType::kSymlink) {
      (void)fs.read_link(step.inode);
    } else if (step.attributes.type == vfs::FileType::kFile) {
      const auto origin = fs.origin(step.inode).value_or(vfs::Origin{});
      files.emplace(step.path, ReadFile{{origin.package, origin.volume, origin.path}, content_of(fs, step)});
    }
  }
  return files;
}

bool is_hidden(vfs::FileSystem& fs, std::string_view path) {
  const auto entry = vfs::find_path(fs, path);
  return entry || entry.error() != ENOENT;
}

PackageSet::PackageSet(FuzzedDataProvider& bytes) {
  const std::size_t count = bytes.ConsumeIntegralInRange<std::size_t>(1, 4);
  for (std::size_t index = 0; index < count; ++index) {
    const std::string name = "acme/p" + std::to_string(index);
    const bool is_fixture = bytes.ConsumeIntegralInRange(0U, 7U) == 0;
    Bytes container = is_fixture ? pick_fixture(bytes) : write_package(bytes, name, index, count);
    auto sound = open_container(name, container);
    members_.push_back({.name = name, .bytes = std::move(container), .sound = std::move(sound)});
  }
}

void PackageSet::damage(FuzzedDataProvider& bytes) {
  for (unsigned left = bytes.ConsumeIntegralInRange(1U, 4U); left > 0; --left) {
    Member& member = members_[bytes.ConsumeIntegralInRange<std::size_t>(0, members_.size() - 1)];
    const auto volumes = member.sound->volumes();
    std::uint64_t begin = 0;
    std::uint64_t end = member.bytes.size();
    if (!volumes.empty() && bytes.ConsumeIntegralInRange(0U, 3U) != 0) {  // the tables of a volume
      const std::size_t which = bytes.ConsumeIntegralInRange<std::size_t>(0, volumes.size() - 1);
      if (const webc::Tree* tree = tree_of(*member.sound, volumes[which]->name())) {
        begin = tree->parts().header;
        end = begin + tree->parts().header_length;
      }
    }
    if (begin >= std::min<std::uint64_t>(end, member.bytes.size())) {
      continue;
    }
    std::uint64_t at = bytes.ConsumeIntegralInRange<std::uint64_t>(begin, end - 1);
    if (bytes.ConsumeIntegralInRange(0U, 31U) == 0) {
      member.bytes.resize(std::min<std::uint64_t>(at, member.bytes.size()));
    }
    for (const auto byte : bytes.ConsumeBytes<std::uint8_t>(bytes.ConsumeIntegralInRange<std::size_t>(1, 9))) {
      if (at < member.bytes.size()) {
        member.bytes[at++] = static_cast<std::byte>(byte);
      }
    }
  }
}

PackageTree PackageSet::load(const TreeOptions& options) const {
  const Member& first = members_.front();
  const auto container = open_container(first.name, first.bytes);
  const PackageInfo info = info_of(first.name, *container);
  MemorySource source;
  std::vector<UniqueFd> files;
  for (std::size_t i = 1; i < members_.size(); ++i) {
    const UniqueFd& file = files.emplace_back(file_of(members_[i].bytes));
    try {
      const std::string path = "/proc/self/fd/" + std::to_string(file.get());
      source.add({.pkg = info_of(members_[i].name, *open_container(members_[i].name, members_[i].bytes)),
                  .dist = {.url = "file://" + path, .path = path, .webc_sha256 = {}}});
    } catch (const Error&) {  // not found, then
    }
  }
  PackageLoader loader({});
  return load_package_tree(std::make_shared<ContainerPackage>(first.name, container, std::nullopt, OpenOptions{}),
                           loader, resolve(info, source), options);
}

std::optional<std::string_view> PackageSet::untouched(const std::vector<std::string>& origin) const {
  const auto member =
      std::ranges::find(members_, origin[0], [](const Member& each) { return each.name + "@" + kVersion; });
  const webc::Tree* tree = member == members_.end() ? nullptr : tree_of(*member->sound, origin[1]);
  if (tree == nullptr || member->is_reframed()) {
    return std::nullopt;
  }
  const std::uint64_t header = tree->parts().header;
  std::uint64_t entry = webc::kRootRef;
  for (const std::string_view name : vfs::path_components(origin[2])) {
    const auto table = tree->table(entry);
    const auto child = table ? find_child(*tree, *table, name) : std::nullopt;
    if (!child || member->differs(header + table->begin, header + table->end)) {
      return std::nullopt;
    }
    entry = child->entry;
  }
  const auto info = tree->entry(entry);
  if (!info || info->kind != webc::EntryKind::kFile ||
      member->differs(header + entry, header + entry + tree->entry_length(entry, *info)) ||
      member->differs(info->offset, info->offset + info->length)) {
    return std::nullopt;
  }
  const auto all = member->sound->source()->bytes();
  return std::string_view(reinterpret_cast<const char*>(all.data()) + info->offset, info->length);
}

bool PackageSet::mappings_touched() const { return std::ranges::any_of(members_, &Member::is_reframed); }

bool PackageSet::Member::differs(std::uint64_t begin, std::uint64_t end) const {
  const auto before = sound->source()->bytes();
  return end > bytes.size() || !std::equal(before.begin() + static_cast<std::ptrdiff_t>(begin),
                                           before.begin() + static_cast<std::ptrdiff_t>(end),
                                           bytes.begin() + static_cast<std::ptrdiff_t>(begin));
}

bool PackageSet::Member::is_reframed() const {
  std::vector<webc::ByteRange> contents;  // tables and bodies
  for (const auto& volume : sound->volumes()) {
    const webc::VolumeParts& parts = tree_of(*sound, volume->name())->parts();
    contents.push_back({parts.header, parts.header + parts.header_length});
    contents.push_back({parts.data, parts.data + parts.data_length});
  }
  for (const webc::Atom& atom : sound->atoms()) {
    contents.push_back({atom.body.offset, atom.body.offset + atom.body.length});
  }
  std::ranges::sort(contents, {}, &webc::ByteRange::begin);
  std::uint64_t at = 0;
  for (const webc::ByteRange& content : contents) {
    if (content.begin > at && differs(at, content.begin)) {
      return true;
    }
    at = std::max(at, content.end);
  }
  return bytes.size() != sound->source()->size() || differs(at, bytes.size());
}

}  // namespace pkgfs::fuzz
