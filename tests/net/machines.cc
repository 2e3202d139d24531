// SPDX-License-Identifier: MIT
#include "tests/net/machines.h"

#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <utility>

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

void must(const Arguments& command) {
  if (const ProcessResult done = run(command); !done.ok()) {
    throw std::runtime_error(command.front() + ": " + done.describe());
  }
}

/// The network namespace of a process, such as `net:[4026531840]`; empty if it has ended.
fs::path network_of(const fs::path& process) {
  std::error_code gone;
  return fs::read_symlink(process / "ns/net", gone);
}

fs::path proc(pid_t pid) { return "/proc/" + std::to_string(pid); }

}  // namespace

Machine::Machine()
    : holder_(std::make_unique<Process>(
          Arguments{"unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"})) {
  if (!eventually([&] { return holder_->out() == "up\n"; }, std::chrono::seconds(10))) {
    throw std::runtime_error("no network namespace can be made here: " + holder_->err());
  }
}

Arguments Machine::enter() const { return {"nsenter", "--net=" + (proc(pid()) / "ns/net").string(), "--"}; }

Arguments Machine::there(const Arguments& command) const {
  Arguments words = enter();
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

std::vector<pid_t> Machine::processes() const {
  const fs::path network = network_of(proc(pid()));
  std::vector<pid_t> found;
  for (const auto& process : fs::directory_iterator("/proc")) {
    const std::string name = process.path().filename();
    const bool is_process = name.find_first_not_of("0123456789") == std::string::npos;
    if (is_process && network_of(process.path()) == network && std::stoi(name) != pid()) {
      found.push_back(std::stoi(name));
    }
  }
  return found;
}

std::string machines_missing() {
  if (::geteuid() != 0) {
    return "only root can make network namespaces";
  }
  for (const char* program : {"ip", "unshare", "nsenter"}) {
    if (!have_program(program)) {
      return std::string(program) + " isn't installed (Debian packages iproute2 and util-linux)";
    }
  }
  const ProcessResult made = run({"unshare", "-n", "ip", "link", "add", "one", "type", "veth", "peer", "name", "two"});
  return made.ok() ? "" : "no network namespace with a veth pair can be made here: " + made.describe();
}

TwoMachines::TwoMachines() {
  // Both ends are made where they belong, so this machine never has them.
  must({"ip", "link", "add", "cable", "netns", std::to_string(server.pid()), "type", "veth", "peer", "name", "cable",
        "netns", std::to_string(client.pid())});
  for (const auto& [machine, address] : {std::pair(&server, kServer), std::pair(&client, kClient)}) {
    must(machine->there({"ip", "address", "add", std::string(address) + "/24", "dev", "cable"}));
    must(machine->there({"ip", "link", "set", "cable", "up"}));
  }
}

void TwoMachines::cut() const { must(client.there({"ip", "link", "set", "cable", "down"})); }

}  // namespace pkgfs::test
