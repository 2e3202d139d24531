// SPDX-License-Identifier: MIT
#include "tests/containers/sandbox.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/containers/wasi_program.h"
#include "tests/support/containers/package_builder.h"

namespace fs = std::filesystem;

namespace pkgfs::test {

namespace {

constexpr const char* kMarker = "<!-- test: ";

constexpr const char* kScript = "tests/containers/sandbox.sh";

/// Engines that were killed leave their empty control groups.
void remove_control_groups() {
  for (int round = 0; round < 3; ++round) {
    static_cast<void>(
        run({"find", "/sys/fs/cgroup", "-depth", "-type", "d", "(", "-path", "*/libpod_parent*", "-o", "-path",
             "*/pkgfs-test", "-o", "-path", "*/pkgfs-test/*", ")", "-exec", "rmdir", "{}", ";"}));
  }
}

}  // namespace

Sandbox::Sandbox()
    : registry_(directory_.path() / "registry"),
      lock_(::open((source_directory() / kScript).c_str(), O_RDONLY | O_CLOEXEC)) {
  ::flock(lock_.get(), LOCK_SH);
  fs::permissions(directory_.path(), fs::perms::others_exec | fs::perms::others_read, fs::perm_options::add);
  PackageBuilder("python/python@3.12.5")
      .file("lib", "os.py", "# os\n")
      .file("lib", "json/__init__.py", "# json\n")
      .mount("/lib/python3.12", "lib")
      .publish(registry_);
  PackageBuilder("wasmer/hello@0.1.0").command("hello", wasi_hello()).publish(registry_);
  for (const std::string version : {"1.9.0", "2.4.0"}) {
    PackageBuilder("acme/site@" + version)
        .file("site", "version", version + "\n")
        .mount("/", "site")
        .publish(registry_);
  }
  PackageBuilder("acme/rootfs@1.0.0")
      .file("root", "bin/busybox", read_text("/bin/busybox"))
      .file("root", "etc/motd", "from the package\n")
      .directory("root", "proc")
      .directory("root", "dev")
      .directory("root", "sys")
      .directory("root", "run")
      .directory("root", "tmp")
      .mount("/", "root")
      .publish(registry_);
}

Sandbox::~Sandbox() {
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) {
    remove_control_groups();
  }
}

ProcessResult Sandbox::run(const std::string& engine, const std::string& script,
                           const std::vector<std::pair<std::string, std::string>>& variables) const {
  const fs::path file = directory_.write("script", script);
  fs::permissions(file, fs::perms::others_read, fs::perm_options::add);
  // Descriptor 9 is the network of this machine, for nsenter(1).
  Arguments arguments{"sh",     "-c",           "exec unshare \"$@\" 9</proc/self/ns/net",
                      "sh",     "--mount",      "--pid",
                      "--fork", "--kill-child", "--mount-proc"};
  if (engine == "docker") {
    arguments.emplace_back("--net");  // dockerd looks for bridges
  }
  arguments.insert(arguments.end(), {"bash", source_directory() / kScript});
  ProcessOptions options{.timeout = std::chrono::seconds(50), .environment = variables};
  options.environment.insert(options.environment.end(), {{"ENGINE", engine},
                                                         {"SCRIPT", file},
                                                         {"BIN", fs::path(kPkgfs).parent_path()},
                                                         {"REGISTRY", registry_},
                                                         {"FORGET_OTHERS", kForgetOthers}});
  return test::run(arguments, options);
}

void ContainerTest::SetUp() {
  if (const std::string why = fuse_missing(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  if (::geteuid() != 0) {
    GTEST_SKIP() << "not root: a sandbox for container engines needs a mount namespace";
  }
  need({"busybox", "unshare"});
}

void ContainerTest::need(const std::vector<std::string>& programs) {
  for (const std::string& program : programs) {
    if (!shell("PATH=$PATH:/usr/sbin command -v " + program).ok()) {
      GTEST_SKIP() << "there is no " << program << " (packaging/install-deps containers)";
    }
  }
}

std::vector<std::string> document_blocks(const std::string& document) {
  std::istringstream lines(read_text(source_directory() / document));
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(kMarker)) {
      const std::string rest = line.substr(std::string(kMarker).size());
      names.push_back(rest.substr(0, rest.find(" -->")));
    }
  }
  return names;
}

std::string document_block(const std::string& document, const std::string& name) {
  std::istringstream lines(read_text(source_directory() / document));
  std::string block;
  bool found = false;
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (!found) {
      found = line == kMarker + name + " -->";
    } else if (line.starts_with("```")) {
      if (inside) {
        return block;
      }
      inside = true;
    } else if (inside) {
      block += line + "\n";
    }
  }
  ADD_FAILURE() << document << " has no block \"" << name << "\"";
  return {};
}

}  // namespace pkgfs::test
