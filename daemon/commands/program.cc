// SPDX-License-Identifier: MIT
#include "daemon/commands/program.h"

#include <algorithm>
#include <functional>
#include <ostream>

#include "core/base/error.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/help.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/run_report.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/mount_helper.h"
#include "daemon/mount/successor.h"
#include "daemon/serve/serve_packages.h"

namespace pkgfs {

namespace {

/// Whether one of the two flags is in `args`, before "--".
bool has_flag(const std::vector<std::string>& args, std::string_view letter, std::string_view word) {
  const auto end = std::ranges::find(args, "--");
  return std::find_if(args.begin(), end, [&](const std::string& arg) { return arg == letter || arg == word; }) != end;
}

bool wants_help(const std::vector<std::string>& args) { return has_flag(args, "-h", "--help"); }

int print_version(const Io& io) {
  *io.out << "pkgfs " PKGFS_VERSION "\n";
  return kExitOk;
}

int dispatch(const std::vector<std::string>& arguments, const Io& io) {
  if (arguments.size() < 2) {
    print_general_help(*io.err);
    return to_exit_code(ErrorCode::kUsage);
  }
  const std::string& name = arguments[1];
  const std::vector<std::string> args(arguments.begin() + 2, arguments.end());
  if (name == "-V" || name == "--version" || name == "version") {
    return print_version(io);
  }
  if (name == "-h" || name == "--help" || name == "help") {
    if (args.empty() || wants_help(args)) {
      print_general_help(*io.out);
    } else {
      print_help_topic(*io.out, args.front());
    }
    return kExitOk;
  }
  const CommandSpec* command = find_command(name);
  if (command == nullptr) {
    if (name.starts_with('-')) {
      throw Error(ErrorCode::kUsage, "unknown option '" + name + "': a command comes first (see \"pkgfs help\")");
    }
    refuse_unknown_command(name);
  }
  if (wants_help(args)) {
    print_command_help(*io.out, *command);
    return kExitOk;
  }
  if (has_flag(args, "-V", "--version")) {
    return print_version(io);
  }
  return command_function(command->id)(args, io);
}

/// Runs `work`, reports its exceptions, and returns the exit code of pkgfs.
int run_guarded(const Io& io, const std::function<int()>& work) {
  try {
    const int code = work();
    io.out->flush();
    if (io.out->fail()) {
      throw Error(ErrorCode::kIo, "writing to standard output failed");
    }
    return code;
  } catch (...) {
    const Error error = current_error();
    io.out->flush();
    return report_failure(io, error);
  }
}

}  // namespace

int run_program(const std::vector<std::string>& arguments, const Io& io) {
  const LogSession log(io);
  if (is_successor(io.environment)) {
    return run_successor(io, resume_serving);
  }
  if (is_mount_helper(arguments)) {
    return to_mount_exit_code(run_guarded(io, [&] { return run_mount_helper(arguments, io); }));
  }
  return run_guarded(io, [&] { return dispatch(arguments, io); });
}

}  // namespace pkgfs
