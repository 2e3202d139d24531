// SPDX-License-Identifier: MIT
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/file_kind.h"
#include "core/base/files.h"
#include "core/cache/file_hash.h"
#include "core/export/output_file.h"
#include "core/load/directory_package.h"
#include "core/load/pack.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/overlay/changes_operand.h"
#include "daemon/overlay/pack_changes.h"
#include "daemon/packages/interrupt.h"
#include "daemon/packages/open_tree.h"
#include "daemon/packages/own_source.h"
#include "daemon/packages/package_path.h"

namespace pkgfs {

namespace {

/// The latest time that files may have, as reproducible builds state it. Throws Error(kUsage) if it isn't a number.
std::optional<std::uint64_t> source_date(const Io& io) {
  const std::optional<std::string> text = io.environment("SOURCE_DATE_EPOCH");
  if (!text || text->empty()) {
    return std::nullopt;
  }
  std::uint64_t seconds = 0;
  const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), seconds);
  if (failed != std::errc() || end != text->data() + text->size()) {
    throw Error(ErrorCode::kUsage, "SOURCE_DATE_EPOCH is \"" + *text + "\", not a number of seconds since 1970");
  }
  return seconds;
}

std::shared_ptr<const DirectoryPackage> open_source(const std::string& text, const TreeFlags& flags) {
  const std::optional<std::string> path = package_path(text);
  if (!path) {
    throw Error(ErrorCode::kUsage,
                "\"" + text + "\" isn't a directory: pack makes a package from one with a wasmer.toml");
  }
  auto package = std::dynamic_pointer_cast<const DirectoryPackage>(open_path(*path, open_options(flags)));
  if (package == nullptr) {
    throw Error(ErrorCode::kUsage, "\"" + text + "\" is a package file already: pack makes one from a directory");
  }
  return package;
}

/// Whether `text` names changes of a writable mount, rather than a directory with a wasmer.toml.
std::optional<ChangesPlace> packed_changes(const std::string& text) {
  std::error_code failed;
  const bool is_source = std::filesystem::exists(std::filesystem::path(text) / "wasmer.toml", failed);
  if (is_source && !find_mount(std::filesystem::canonical(text, failed))) {
    return std::nullopt;
  }
  return std::filesystem::is_directory(text, failed) ? find_changes(text) : std::nullopt;
}

void pack_from_changes(const ChangesPlace& place, const Io& io, int fd, std::optional<std::uint64_t> latest) {
  // A mount may go on changing them; else no mount begins meanwhile.
  const ChangesDirectory changes = place.mount ? ChangesDirectory::look(place.directory)
                                               : ChangesDirectory::open(place.directory, ChangesUse::kRead);
  const OpenedTree opened = changes.open_packages(io, false);
  const MountOptions then = parse_mount_options(changes.record().arguments.words, changes.record().arguments.rules);
  pack_changes(changes, opened, then.tree.commands_dir, fd, latest);
}

}  // namespace

int cmd_pack(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kPack, args, 1, 1);
  set_log_level(options.log);
  if (options.output.empty() || options.output == "-") {
    throw Error(ErrorCode::kUsage, "--output=FILE is missing: the package to write, which standard output can't be");
  }
  const std::optional<std::uint64_t> latest = source_date(io);
  CancelFlag cancel;
  const InterruptGuard guard(cancel);
  const std::optional<ChangesPlace> changes = packed_changes(options.operands[0]);
  const auto package = changes ? nullptr : open_source(options.operands[0], options.tree);
  if (changes && (is_below(std::filesystem::absolute(options.output).lexically_normal(), changes->directory) ||
                  (changes->mount && is_below(std::filesystem::absolute(options.output).lexically_normal(),
                                              changes->mount->mountpoint)))) {
    throw Error(ErrorCode::kUsage, "\"" + options.output + "\" lies in what it is made from");
  }
  if (package != nullptr) {
    refuse_own_source(*package, options.output);
  }
  OutputFile file(options.output, true);
  try {
    if (changes) {
      pack_from_changes(*changes, io, file.fd(), latest);
    } else {
      pack_package(*package, file.fd(), {.apply_ignore_rules = true, .latest = latest});
    }
  } catch (Error& error) {
    throw std::move(error).context("Unable to make the package \"" + options.output + "\"");
  }
  throw_if_cancelled();
  const Sha256 hash = hash_file("/proc/self/fd/" + std::to_string(file.fd()));
  file.publish();
  TextWriter(*io.out) << "sha256:" << to_hex(hash) << "  " << options.output << '\n';
  return kExitOk;
}

}  // namespace pkgfs
