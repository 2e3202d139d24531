// SPDX-License-Identifier: MIT
#include "core/webc/container.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/file_kind.h"
#include "core/base/log.h"
#include "core/base/repeated_warning.h"
#include "core/webc/builder.h"
#include "core/webc/bytes.h"
#include "core/webc/json_fields.h"
#include "core/webc/tree_volume.h"
#include "core/webc/v1.h"
#include "core/webc/v2v3.h"

namespace pkgfs::webc {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kMagic = "\0webc"sv;
constexpr std::uint64_t kMostOfAKind = 1024;  // `file_kind` looks no further

std::vector<Atom> read_atoms(const std::shared_ptr<const ByteSource>& source, const Layout& layout,
                             const limits::PackageLimits& limits) {
  const auto tree = make_tree(layout.version, source->bytes(), layout.atoms);
  const auto refuse = [&](const Problem& problem) {
    return Error(ErrorCode::kCorrupt, source->name() + ": " + describe(layout.atoms, true, problem));
  };
  RepeatedWarning left_out("atoms are left out");
  const auto leave_out = [&](const Child& child, const std::string& why) {
    const Problem problem{.at = child.at, .text = "atom " + in_quotes(child.name) + " " + why};
    if (limits.refuses_damage) {
      throw refuse(problem);
    }
    left_out.add("{}: {}; it is left out", source->name(), describe(layout.atoms, true, problem));
  };
  const auto table = tree->table(kRootRef);
  if (!table) {
    throw refuse(table.error());
  }
  const Cursor first = tree->children(*table);
  SeenNames seen(*tree, first);
  std::vector<Atom> atoms;
  for (Cursor cursor = first; !cursor.done();) {
    const auto child = tree->next(cursor);
    if (!child) {
      throw refuse(child.error());
    }
    const auto info = entry_of(*tree, *child);
    if (!info) {
      throw refuse(info.error());
    }
    if (const char* why = name_problem(child->name)) {
      leave_out(*child, std::string("has a name that ") + why);
    } else if (!seen.add(*child)) {
      leave_out(*child, "is there twice");
    } else if (info->kind != EntryKind::kFile) {
      leave_out(*child, "is not a file");
    } else {
      atoms.push_back(
          {.name = std::string(child->name),
           .body = {.source = source, .offset = info->offset, .length = info->length, .sha256 = info->sha256}});
    }
  }
  left_out.end();
  std::sort(atoms.begin(), atoms.end(), [](const Atom& a, const Atom& b) { return a.name < b.name; });
  return atoms;
}

/// Waits for the manifest and for all directory data, so that nothing but file bodies can be missing afterwards. With
/// kWhenNeeded, that of volumes may be missing, too.
void need_directories(const ByteSource& source, const Layout& layout, DirectoryData data) {
  std::vector<ByteRun> runs{{.offset = layout.manifest, .length = layout.manifest_length},
                            {.offset = layout.atoms.header, .length = layout.atoms.header_length}};
  const bool volumes = data == DirectoryData::kNow;
  for (const VolumeParts& parts : volumes ? std::span(layout.volumes) : std::span<const VolumeParts>()) {
    runs.push_back({.offset = parts.header, .length = parts.header_length});
  }
  source.need(runs);
}

// `<own name>@<own version>/` as version 1 prefixes its volumes. A `wapm` annotation without them counts as empty.
std::string own_prefix(const Manifest& manifest) {
  const auto text = [](const Json& map, const char* key) {
    const Json* value = member(map, key);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
  };
  const Json* wapm = member(manifest.package, "wapm");
  const Json& from = wapm != nullptr && wapm->is_object() ? *wapm : manifest.package;
  return text(from, "name") + "@" + text(from, "version") + "/";
}

}  // namespace

FileFormat detect_format(std::span<const std::byte> bytes) {
  const std::string_view start = as_text(bytes.first(std::min<std::size_t>(bytes.size(), 8)));
  if (start.starts_with("\x1f\x8b"sv)) {
    return FileFormat::kTarball;
  }
  return start.starts_with(kMagic) ? FileFormat::kWebc : FileFormat::kOther;
}

Layout read_layout(const ByteSource& source, const limits::PackageLimits& limits, DirectoryData data) {
  source.need(0, kMostOfAKind);
  const std::string_view start = as_text(source.bytes().first(std::min<std::uint64_t>(source.size(), 8)));
  const auto unsupported = [&](const std::string& what) {
    return Error(ErrorCode::kUnsupported, source.name() + ": " + what);
  };
  switch (detect_format(source.bytes())) {
    case FileFormat::kWebc:
      break;
    case FileFormat::kTarball:
      throw unsupported("is a gzip archive, not a WEBC container");
    case FileFormat::kOther:
      if (const auto kind = file_kind(source.bytes())) {
        throw unsupported("is " + std::string(*kind) + ", not a package");
      }
      throw unsupported(source.size() == 0
                            ? "is an empty file, not a package"
                            : "is not a WEBC container: offset 0x0: expected the magic bytes \"\\x00webc\", found " +
                                  in_quotes(start.substr(0, kMagic.size())));
  }
  if (start.size() < 8) {
    throw Error(ErrorCode::kCorrupt, source.name() + ": version, offset 0x5: the file ends inside the version");
  }
  const std::string_view version = start.substr(kMagic.size());
  if (version == "001") {
    return read_v1_layout(source, limits);
  }
  if (version == "002" || version == "003") {
    return read_v2v3_layout(source, version == "002" ? Version::kV2 : Version::kV3, limits, data);
  }
  throw unsupported("version, offset 0x5: Unsupported WEBC version, " + in_quotes(version));
}

std::shared_ptr<const Container> ContainerBuilder::build(std::shared_ptr<const ByteSource> source,
                                                         const limits::PackageLimits& limits, DirectoryData data) {
  Layout layout = read_layout(*source, limits, data);
  need_directories(*source, layout, data);
  const std::shared_ptr<Container> container(new Container());  // std::make_shared can't call the private constructor
  container->version_ = layout.version;
  container->manifest_bytes_ = source->bytes().subspan(layout.manifest, layout.manifest_length);
  try {
    container->manifest_ = parse_manifest(container->manifest_bytes_);
    source->used(layout.manifest, layout.manifest_length);
  } catch (Error& error) {
    error.context(source->name() + ": manifest, offset " + hex(layout.manifest) + ": " + error.message());
    throw;
  }
  container->atoms_ = read_atoms(source, layout, limits);
  for (const VolumeParts& parts : layout.volumes) {
    container->volumes_.push_back(std::make_shared<TreeVolume>(std::string(parts.name), source,
                                                               make_tree(layout.version, source->bytes(), parts)));
  }
  std::sort(container->volumes_.begin(), container->volumes_.end(),
            [](const auto& a, const auto& b) { return a->name() < b->name(); });
  container->index_ = std::move(layout.index);
  container->own_prefix_ = own_prefix(container->manifest_);
  if (layout.uncovered != 0) {
    log::debug("{}: {} bytes belong to no section", source->name(), layout.uncovered);
  }
  if (source->damaged()) {
    throw Error(ErrorCode::kIo, source->name() + ": could not be read completely");
  }
  container->source_ = std::move(source);
  return container;
}

std::shared_ptr<const Container> Container::open(std::shared_ptr<const ByteSource> source,
                                                 const limits::PackageLimits& limits, DirectoryData data) {
  return ContainerBuilder::build(std::move(source), limits, data);
}

const Atom* Container::find_atom(std::string_view name) const {
  const auto found = std::lower_bound(atoms_.begin(), atoms_.end(), name,
                                      [](const Atom& a, std::string_view n) { return a.name < n; });
  return found != atoms_.end() && found->name == name ? &*found : nullptr;
}

std::shared_ptr<const Volume> Container::find_volume(std::string_view name) const {
  const auto find = [this](std::string_view wanted) -> std::shared_ptr<const Volume> {
    const auto found = std::lower_bound(volumes_.begin(), volumes_.end(), wanted,
                                        [](const auto& v, std::string_view n) { return v->name() < n; });
    return found != volumes_.end() && (*found)->name() == wanted ? *found : nullptr;
  };
  if (version_ == Version::kV1) {
    if (auto own = find(own_prefix_ + std::string(name))) {
      return own;
    }
  }
  return find(name);
}

}  // namespace pkgfs::webc
