// SPDX-License-Identifier: MIT
#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace pkgfs::test {

namespace {

UniqueFd memory_file(const char* name) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd) {
    throw std::runtime_error(std::string("memfd_create: ") + std::strerror(errno));
  }
  // Programs that share it overwrite each other otherwise: the kernel doesn't lock the position of such a file.
  ::fcntl(fd.get(), F_SETFL, O_APPEND);
  return fd;
}

std::string content(const UniqueFd& fd) {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0 || status.st_size <= 0) {
    return {};
  }
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  const ssize_t count = ::pread(fd.get(), text.data(), text.size(), 0);
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return text;
}

/// In the child, between fork and exec: only async-signal-safe calls, so everything is prepared before the fork.
[[noreturn]] void become(char* const* argv, char* const* envp, const char* directory, int out, int err) {
  ::setpgid(0, 0);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  if (nothing > STDERR_FILENO) {
    ::close(nothing);
  }
  if (*directory != '\0' && ::chdir(directory) != 0) {
    ::_exit(126);
  }
  // A shell starts what it runs in the background with these ignored.
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGQUIT, SIG_DFL);
  ::execvpe(argv[0], argv, envp);
  ::_exit(127);
}

}  // namespace

std::string ProcessResult::describe() const {
  std::string text = timed_out     ? std::string("timed out")
                     : signal != 0 ? "ended by signal " + std::to_string(signal)
                                   : "exit code " + std::to_string(exit_code);
  if (!out.empty()) {
    text += "\nstdout: " + out.substr(0, 4000);
  }
  if (!err.empty()) {
    text += "\nstderr: " + err.substr(0, 4000);
  }
  return text;
}

Process::Process(const Arguments& arguments, ProcessOptions options)
    : options_(std::move(options)), out_(memory_file("stdout")), err_(memory_file("stderr")) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  std::vector<std::string> added;
  for (const auto& [name, value] : options_.environment) {
    added.push_back(name + "=" + value);
  }
  std::vector<char*> envp;
  for (std::string& assignment : added) {
    envp.push_back(assignment.data());
  }
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view name = std::string_view(*variable).substr(0, std::string_view(*variable).find('='));
    const auto same = [&](const auto& other) { return other.first == name; };
    if (std::none_of(options_.environment.begin(), options_.environment.end(), same)) {
      envp.push_back(*variable);  // of two with one name, getenv takes the first and bash the last
    }
  }
  envp.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) {
    throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  }
  if (pid_ == 0) {
    become(argv.data(), envp.data(), options_.directory.c_str(), out_.get(), err_.get());
  }
  ::setpgid(pid_, pid_);  // in both processes, because either may run first
}

Process::~Process() {
  if (!ended_) {
    ::kill(-pid_, SIGCONT);
    ::kill(-pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
  }
}

void Process::collect(int status) {
  ended_ = true;
  if (WIFEXITED(status)) {
    result_.exit_code = WEXITSTATUS(status);
  } else if (WIFSIGNALED(status)) {
    result_.signal = WTERMSIG(status);
  }
  result_.out = out();
  result_.err = err();
}

bool Process::ends_within(std::chrono::milliseconds limit) const {
  if (ended_) {
    return true;
  }
  const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  pollfd watched{.fd = handle.get(), .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&watched, 1, static_cast<int>(limit.count()));
  } while (ready < 0 && errno == EINTR);
  return ready != 0;
}

const ProcessResult& Process::wait() {
  if (ended_) {
    return result_;
  }
  if (!ends_within(options_.timeout)) {
    result_.timed_out = true;
    ::kill(-pid_, SIGCONT);
    ::kill(-pid_, SIGKILL);
  }
  int status = 0;
  struct rusage usage{};
  ::wait4(pid_, &status, 0, &usage);
  result_.peak_memory = usage.ru_maxrss * 1024;
  collect(status);
  return result_;
}

void Process::signal(int number) const { ::kill(pid_, number); }
std::string Process::out() const { return content(out_); }
std::string Process::err() const { return content(err_); }

ProcessResult run(const Arguments& arguments, const ProcessOptions& options) {
  return Process(arguments, options).wait();
}

ProcessResult shell(const std::string& line, const ProcessOptions& options) {
  return run({"/bin/bash", "-c", line}, options);
}

bool have_program(const std::string& program) { return shell("command -v " + program).ok(); }

void sleep_ms(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

}  // namespace pkgfs::test
