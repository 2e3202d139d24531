// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/overlay/changes.h"
#include "daemon/overlay/changes_operand.h"
#include "daemon/overlay/text_diff.h"

namespace pkgfs {
namespace {

const char* type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return "directory";
    case S_IFREG:
      return "file";
    case S_IFLNK:
      return "symlink";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    default:
      return "device";
  }
}

const char* word_for(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kAdded:
      return "added";
    case ChangeKind::kChanged:
      return "changed";
    case ChangeKind::kAttributes:
      return "attributes";
    case ChangeKind::kRemoved:
      return "removed";
    case ChangeKind::kRenamed:
      return "renamed";
  }
  return "";
}

char letter_for(ChangeKind kind) {
  constexpr std::string_view kLetters = "AMPDR";
  return kLetters.at(static_cast<std::size_t>(kind));
}

nlohmann::json side_as_json(const std::optional<ChangedEntry>& entry) {
  if (!entry) {
    return nullptr;
  }
  nlohmann::json json{{"type", type_of(entry->mode)}, {"mode", entry->mode & 07777U}};
  if (S_ISREG(entry->mode)) {
    json["len"] = entry->size;
  } else if (S_ISLNK(entry->mode)) {
    json["target"] = entry->target;
  }
  return json;
}

nlohmann::json changes_as_json(const ChangesDirectory& directory, const std::vector<Change>& changes) {
  nlohmann::json list = nlohmann::json::array();
  for (const Change& change : changes) {
    nlohmann::json json{{"path", change.path},
                        {"kind", word_for(change.kind)},
                        {"before", side_as_json(change.before)},
                        {"after", side_as_json(change.after)}};
    if (change.kind == ChangeKind::kRenamed) {
      json["from"] = change.from;
    }
    list.push_back(std::move(json));
  }
  return {{"package", directory.record().package}, {"directory", directory.path()}, {"changes", std::move(list)}};
}

void print_line(TextWriter& out, const Change& change) {
  out << letter_for(change.kind) << ' ';
  if (change.kind == ChangeKind::kRenamed) {
    out << change.from << "/ -> ";
  }
  const ChangedEntry& entry = change.after ? *change.after : *change.before;
  out << change.path << (S_ISDIR(entry.mode) ? "/" : "");
  if (change.kind == ChangeKind::kAttributes && (change.before->mode & 07777U) != (entry.mode & 07777U)) {
    out.print("  mode {:04o} -> {:04o}", change.before->mode & 07777U, entry.mode & 07777U);
  } else if (change.kind == ChangeKind::kAttributes) {
    out << "  owner";
  } else if (change.kind == ChangeKind::kChanged && change.before &&
             (change.before->mode & S_IFMT) != (entry.mode & S_IFMT)) {
    out << "  " << type_of(change.before->mode) << " -> " << type_of(entry.mode);
  } else if (change.kind == ChangeKind::kChanged && S_ISREG(entry.mode)) {
    out.print("  {} -> {} bytes", change.before->size, entry.size);
  } else if (S_ISREG(entry.mode)) {
    out.print("  {} {}", entry.size, entry.size == 1 ? "byte" : "bytes");
  } else if (S_ISLNK(entry.mode)) {
    out << "  -> " << entry.target;
  }
  out << '\n';
}

/// A copy of a file of the package, in memory, for diff(1).
UniqueFd copy_of(const MergedTree& tree, const Change& change) {
  UniqueFd copy(::memfd_create("before", MFD_CLOEXEC));
  Result<std::unique_ptr<vfs::OpenFile>> file = tree.base().open(*change.inode);
  if (!copy || !file) {
    throw system_error("Unable to read \"" + change.path + "\" of the package", copy ? file.error() : errno);
  }
  std::vector<std::byte> piece(256U << 10U);
  for (std::uint64_t offset = 0;;) {
    const Result<std::size_t> got = (*file)->read(offset, piece);
    if (!got) {
      throw system_error("Unable to read \"" + change.path + "\" of the package", got.error());
    }
    if (*got == 0) {
      return copy;
    }
    write_all(copy.get(), {reinterpret_cast<const char*>(piece.data()), *got}, change.path);
    offset += *got;
  }
}

/// The contents of what is or was a file.
void print_diff_of(TextWriter& out, const OpenedChanges& opened, const Change& change) {
  const bool was_file = change.before && S_ISREG(change.before->mode);
  const bool is_file = change.after && S_ISREG(change.after->mode);
  if ((!was_file && !is_file) || change.kind == ChangeKind::kAttributes) {
    return;
  }
  constexpr std::uint64_t kMostCompared = 256U << 20U;  // bytes: diff(1) holds both files in memory
  if ((was_file && change.before->size > kMostCompared) || (is_file && change.after->size > kMostCompared)) {
    out << "Files a" << change.path << " and b" << change.path << " aren't compared: they have more than 256 MiB\n";
    return;
  }
  const UniqueFd before = was_file ? copy_of(opened.tree(), change) : UniqueFd();
  const UniqueFd after =
      is_file ? opened.tree().upper().open(change.path.substr(1), O_RDONLY | O_NONBLOCK) : UniqueFd();
  if (is_file && !after) {
    throw system_error("Unable to read \"" + change.path + "\"", errno);
  }
  text_diff(change.path, before, after, [&out](std::string_view text) {
    while (!text.empty()) {  // a tab can't drive a terminal, and patch(1) needs it
      const std::size_t tab = text.find('\t');
      out.print_lines(text.substr(0, tab));
      if (tab == std::string_view::npos) {
        break;
      }
      out << '\t';
      text.remove_prefix(tab + 1);
    }
  });
}

}  // namespace

int cmd_changes(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kChanges, args, 1, 1);
  set_log_level(options.log);
  const std::optional<ChangesPlace> place = find_changes(options.operands[0]);
  if (!place) {
    throw no_changes(options.operands[0]);
  }
  const OpenedChanges opened(*place, io);
  const std::vector<Change> changes = list_changes(opened.tree(), opened.shown());
  if (options.json) {
    print_json(*io.out, changes_as_json(opened.directory(), changes));
    return kExitOk;
  }
  TextWriter out(*io.out);
  for (const Change& change : changes) {
    if (options.with_diff) {
      print_diff_of(out, opened, change);
    } else {
      print_line(out, change);
    }
  }
  return kExitOk;
}

int cmd_discard(const std::vector<std::string>& args, const Io& /*io*/) {
  const Options options = parse_options(CommandId::kDiscard, args, 1, 1);
  set_log_level(options.log);
  const std::string& given = options.operands[0];
  const std::optional<ChangesPlace> place = find_changes(given);
  if (!place) {
    throw no_changes(given);
  }
  if (place->mount) {
    const std::string unmount = "pkgfs unmount " + place->mount->mountpoint;
    throw Error(ErrorCode::kBusy,
                {"The changes of the mount at \"" + place->mount->mountpoint +
                     "\" are in use: the kernel doesn't allow that they go while programs may have their files open",
                 place->mount->discards ? "they end with the mount: " + unmount
                                        : "unmount first: " + unmount + " && pkgfs discard " + place->directory});
  }
  ChangesDirectory::open(place->directory, ChangesUse::kChange).discard();
  return kExitOk;
}

}  // namespace pkgfs
