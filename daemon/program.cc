// SPDX-License-Identifier: MIT
#include "daemon/program.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <new>

#include "core/base/error.h"
#include "daemon/commands.h"
#include "daemon/exit_code.h"
#include "daemon/help.h"
#include "daemon/logging.h"
#include "daemon/mount_helper.h"
#include "daemon/text_output.h"

namespace pkgfs {

namespace {

/// Whether one of both flags is among the options.
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
  if (name == "-V" || name == "--version") {
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
  return command->run(args, io);
}

/// A standard stream that is closed is opened so that using it still fails: else its number would be that of a pipe or
/// of the mount, and what is printed would go there.
void occupy_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0) {
      (void)::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // the lowest free number: this one
    }
  }
}

int report(const Io& io, std::string_view what, ErrorCode code) {
  *io.err << error_lines(io, what) << std::flush;
  return to_exit_code(code);
}

/// The exit code of pkgfs, whatever `work` does.
int run_guarded(const Io& io, const std::function<int()>& work) {
  try {
    const int code = work();
    io.out->flush();
    if (io.out->fail()) {
      throw Error(ErrorCode::kIo, "writing to standard output failed");
    }
    return code;
  } catch (const Error& error) {
    io.out->flush();
    return report(io, error.what(), error.code());
  } catch (const std::bad_alloc&) {
    return report(io, "out of memory", ErrorCode::kIo);
  } catch (const std::exception& error) {
    return report(io, std::string("internal error: ") + error.what(), ErrorCode::kInternal);
  }
}

}  // namespace

Io Io::process() {
  occupy_closed_streams();
  // A file that grows over the limit (ulimit -f) is a failed write with its message and its clean-up, not the end.
  std::signal(SIGXFSZ, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): before any thread
  std::ios::sync_with_stdio(false);
  Io io{&std::cout, &std::cerr,
        [](const char* name) -> std::optional<std::string> {
          const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody changes the environment
          return value == nullptr ? std::nullopt : std::optional<std::string>(value);
        },
        ::isatty(STDERR_FILENO) == 1};
  io.err_is_journal = is_journal(STDERR_FILENO, io.environment("JOURNAL_STREAM"));
  return io;
}

int run_program(const std::vector<std::string>& arguments, const Io& io) {
  const LogSession log(io);
  if (is_mount_helper(arguments)) {
    return to_mount_exit_code(run_guarded(io, [&] { return run_mount_helper(arguments, io); }));
  }
  return run_guarded(io, [&] { return dispatch(arguments, io); });
}

}  // namespace pkgfs
