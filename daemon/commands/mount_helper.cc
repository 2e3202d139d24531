// SPDX-License-Identifier: MIT
#include "daemon/commands/mount_helper.h"

#include <fcntl.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <ostream>
#include <span>
#include <string_view>

#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "core/package/package_specifier.h"
#include "daemon/cli/command_table.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/mount/mount_package.h"
#include "daemon/mount/mount_probe.h"
#include "daemon/mount/mount_settings.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/writable_run.h"
#include "daemon/packages/open_tree.h"
#include "daemon/serve/serve_packages.h"

namespace pkgfs {
namespace {

constexpr std::string_view kUsageLine =
    "usage: mount.pkgfs PACKAGE MOUNTPOINT [-fnsv] [-o OPTION[,OPTION]...] (see mount.pkgfs(8))";

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool has_helper_name(const std::string& program) { return base_name(program).starts_with("mount."); }

void enter_namespace(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || ::setns(fd.get(), CLONE_NEWNS) != 0) {
    throw system_error("Unable to enter the mount namespace \"" + path + "\"", errno);
  }
}

/// Reads the letters of one argument. Returns how many of the `following` arguments are the value of its last letter.
std::size_t read_letters(std::string_view letters, std::span<const std::string> following, HelperArguments& parsed) {
  for (std::size_t i = 0; i < letters.size(); ++i) {
    const char letter = letters[i];
    if (letter == 'o' || letter == 't' || letter == 'N') {
      const bool here = i + 1 < letters.size();
      if (!here && following.empty()) {
        throw Error(ErrorCode::kUsage, std::string("option '-") + letter + "' needs a value");
      }
      std::string value(here ? letters.substr(i + 1) : std::string_view(following.front()));
      if (letter == 'o') {
        parsed.mount_words.push_back(std::move(value));
      } else if (letter == 'N') {
        parsed.mount_namespace = std::move(value);
      }  // -t: any spelling of the type is pkgfs's
      return here ? 0 : 1;
    }
    if (letter == 'f') {
      parsed.fake = true;
    } else if (letter == 's') {
      parsed.sloppy = true;
    } else if (letter == 'v') {
      parsed.verbose = true;
    } else if (letter != 'n') {
      throw Error(ErrorCode::kUsage, {std::string("unknown option '-") + letter + "'", std::string(kUsageLine)});
    }
  }
  return 0;
}

/// The source of a live mount of pkgfs at `mountpoint`; nothing if there is none.
std::optional<std::string> live_source(const std::string& mountpoint) {
  const std::string path = resolve_mountpoint(mountpoint);
  const std::optional<MountEntry> mounted = find_package_mount(path);
  const bool live =
      mounted && mounted->type == kMountType && probe_mount(mounted->asked_path(), kProbeLimit) == MountState::kLive;
  return live ? std::optional(mounted->source) : std::nullopt;
}

/// Whether the source of a mount, `source`, is the package that `options` name. A package name isn't looked up in
/// registries: every version that matches the requirement counts.
bool shows_package(const std::string& source, const MountOptions& options, const Io& io) {
  if (std::error_code missing; !std::filesystem::exists(options.package, missing)) {
    const PackageSpecifier wanted = PackageSpecifier::parse(options.package);
    if (const NamedIdent* named = wanted.named()) {
      const std::size_t at = source.rfind('@');
      const auto version = at == std::string::npos ? std::nullopt : Version::try_parse(source.substr(at + 1));
      return version && named->matches(NamedId{source.substr(0, at), *version});
    }
  }
  return mount_source(open_tree(options.package, options.tree, io), options.package) == source;
}

}  // namespace

bool is_mount_helper(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && has_helper_name(arguments.front())) {
    return true;
  }
  constexpr std::size_t kFewest = 4;  // pkgfs SPEC DIR -o…
  if (arguments.size() < kFewest || find_command(arguments[1]) != nullptr || arguments[1] == "help") {
    return false;
  }
  // The options are last; `pkgfs moutn SPEC DIR -o ro` is a misspelled command.
  const bool ordered =
      !arguments[1].starts_with('-') && !arguments[2].starts_with('-') && arguments[3].starts_with('-');
  return ordered && std::any_of(arguments.begin() + 3, arguments.end(),
                                [](const std::string& argument) { return argument.starts_with("-o"); });
}

HelperArguments parse_helper_arguments(const std::vector<std::string>& args) {
  HelperArguments parsed;
  std::vector<std::string> operands;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--") {
      operands.insert(operands.end(), args.begin() + static_cast<std::ptrdiff_t>(i) + 1, args.end());
      break;
    }
    if (arg.starts_with("--")) {
      throw Error(ErrorCode::kUsage, {"unknown option '" + arg + "'", std::string(kUsageLine)});
    }
    if (arg.size() > 1 && arg.front() == '-') {
      i += read_letters(std::string_view(arg).substr(1), std::span(args).subspan(i + 1), parsed);
    } else {
      operands.push_back(arg);
    }
  }
  if (operands.size() != 2) {
    throw Error(ErrorCode::kUsage, std::string(kUsageLine));
  }
  parsed.package = std::move(operands[0]);
  parsed.mountpoint = std::move(operands[1]);
  return parsed;
}

int run_mount_helper(const std::vector<std::string>& arguments, const Io& io) {
  const std::vector<std::string> args(arguments.begin() + 1, arguments.end());
  if (args.size() == 1 && (args[0] == "-V" || args[0] == "--version")) {
    *io.out << "pkgfs " PKGFS_VERSION "\n";
    return kExitOk;
  }
  if (args.size() == 1 && (args[0] == "-h" || args[0] == "--help")) {
    *io.out << kUsageLine << '\n';
    return kExitOk;
  }
  HelperArguments parsed = parse_helper_arguments(args);
  std::vector<std::string> command;
  if (parsed.verbose) {
    command.emplace_back("--log-level=info");  // first, so that -o can override it
  }
  for (std::string& words : parsed.mount_words) {
    command.insert(command.end(), {"-o", std::move(words)});
  }
  const bool serves = parsed.package == kServeSource;
  command.emplace_back("--");
  if (!serves) {
    command.push_back(std::move(parsed.package));
  }
  command.push_back(std::move(parsed.mountpoint));
  const MountWordRules rules{.from_mount = true, .sloppy = parsed.sloppy};
  const MountOptions options = serves ? parse_serve_options(command, rules) : parse_mount_options(command, rules);
  if (parsed.fake) {
    return kExitOk;
  }
  set_log_level(options.log);
  if (!parsed.mount_namespace.empty()) {
    enter_namespace(parsed.mount_namespace);
  }
  // mount(8) doesn't notice that an entry is mounted already: fstab has the specifier, the kernel shows the version.
  if (const auto source = options.remount ? std::nullopt : live_source(options.mountpoint);
      source && (serves ? *source == kServeSource : shows_package(*source, options, io))) {
    log::warn("\"{}\" is already mounted at \"{}\"; nothing was changed", *source, options.mountpoint);
    return kExitOk;
  }
  return serves ? serve_packages(options, io) : mount_package(options, io);
}

}  // namespace pkgfs
