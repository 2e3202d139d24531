// SPDX-License-Identifier: MIT
#include "tests/containers/plugin.h"

#include <csignal>

namespace fs = std::filesystem;

namespace pkgfs::test {

Plugin::Plugin(Variables environment, Arguments options)
    : environment_(std::move(environment)), options_(std::move(options)) {
  fs::create_directory(mounts());
}

Plugin::~Plugin() {
  if (process_ != nullptr && !process_->ends_within(std::chrono::milliseconds(0))) {
    const ProcessResult ended = stop();
    EXPECT_TRUE(ended.ok()) << ended.describe();
  }
  for (const auto& entry : fs::directory_iterator(mounts())) {
    force_unmount(entry.path());
  }
  EXPECT_TRUE(eventually([&] { return processes_with(state() / "empty").empty(); }));
}

Arguments Plugin::arguments() const {
  Arguments all{kPkgfs,  "volume-plugin", "--socket", socket(),          "--state-dir",
                state(), "--mount-root",  mounts(),   "--log-level=info"};
  all.insert(all.end(), options_.begin(), options_.end());
  return all;
}

bool Plugin::start() {
  process_ = std::make_unique<Process>(arguments(), ProcessOptions{.environment = environment_});
  return eventually([&] {
           return process_->ends_within(std::chrono::milliseconds(0)) || call("Plugin.Activate").status == 200;
         }) &&
         !process_->ends_within(std::chrono::milliseconds(0));
}

ProcessResult Plugin::stop() {
  process_->signal(SIGTERM);
  return process_->wait();
}

void Plugin::kill() {
  process_->signal(SIGKILL);
  static_cast<void>(process_->wait());
}

Reply Plugin::call(const std::string& name, const Json& body) const {
  return curl({"--unix-socket", socket(), "-H", "Content-Type: application/vnd.docker.plugins.v1.1+json", "-d",
               body.dump(), "http://plugin/" + (name.find('.') == std::string::npos ? "VolumeDriver." + name : name)});
}

std::string Plugin::error(const std::string& name, const Json& body) const {
  const Reply reply = call(name, body);
  return reply.exit_code == 0 ? reply.json().value("Err", "(no Err)") : "(no answer) " + reply.describe();
}

std::string Plugin::create(const std::string& volume, const Json& options) const {
  return error("Create", {{"Name", volume}, {"Opts", options}});
}

std::string Plugin::mount(const std::string& volume, const std::string& id) const {
  return error("Mount", {{"Name", volume}, {"ID", id}});
}

std::string Plugin::unmount(const std::string& volume, const std::string& id) const {
  return error("Unmount", {{"Name", volume}, {"ID", id}});
}

std::string Plugin::remove(const std::string& volume) const { return error("Remove", {{"Name", volume}}); }

Json Plugin::status(const std::string& volume) const {
  const Reply reply = call("Get", {{"Name", volume}});
  return reply.status == 200 ? reply.json()["Volume"]["Status"] : Json();
}

bool Plugin::reaches_state(const std::string& volume, const std::string& state) const {
  return eventually(
      [&] {
        const Json now = status(volume);
        return now.is_object() && now["state"] == state;
      },
      std::chrono::seconds(10));
}

void PluginTest::SetUp() {
  NetTest::SetUp();
  if (!IsSkipped() && !fuse_missing().empty()) {
    GTEST_SKIP() << fuse_missing();
  }
}

Json PluginTest::local(const std::string& package, const std::string& set) {
  return {{"package", package}, {"registry", registry(set)}};
}

}  // namespace pkgfs::test
