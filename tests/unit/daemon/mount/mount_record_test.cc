// SPDX-License-Identifier: MIT
// Risk: a successor goes on with a mount for which it has the wrong record, or crashes at one that is damaged.
#include "daemon/mount/mount_record.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/error.h"

namespace pkgfs {
namespace {

MountRecord example() {
  MountRecord record;
  record.arguments = {
      .words = {"--exec=auto", "a b", "/mnt"}, .rules = {.from_mount = true}, .working_directory = "/tmp"};
  record.mountpoint = "/mnt/\xC3\xA4";
  record.source = "acme/app@1.0.0";
  record.device = "0:53";
  record.version = "1";
  record.since = 1'700'000'000;
  record.generation = 7;
  record.last_end = "killed";
  record.crashes = {1, 2};
  record.handshake = {.request = {std::byte{0}, std::byte{255}}, .reply = {std::byte{7}}};
  record.tree.resolution = {{"nodes", webc::Json::array()}};
  return record;
}

UniqueFd file_with(const std::string& text) {
  UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  return file;
}

std::string text_of(const UniqueFd& file) {
  std::string text(1U << 16U, '\0');
  const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  return text;
}

TEST(MountRecord, IsReadAsItWasWritten) {
  const MountRecord record = example();
  const UniqueFd file = record.write();
  const MountRecord read = MountRecord::read(file.get());
  EXPECT_EQ(read.arguments.words, record.arguments.words);
  EXPECT_TRUE(read.arguments.rules.from_mount);
  EXPECT_FALSE(read.arguments.rules.sloppy);
  EXPECT_EQ(read.arguments.working_directory, "/tmp");
  EXPECT_EQ(read.mountpoint, record.mountpoint);
  EXPECT_EQ(read.source, record.source);
  EXPECT_EQ(read.device, "0:53");
  EXPECT_EQ(read.since, record.since);
  EXPECT_EQ(read.generation, 7U);
  EXPECT_EQ(read.last_end, "killed");
  EXPECT_EQ(read.crashes, record.crashes);
  EXPECT_EQ(read.handshake.request, record.handshake.request);
  EXPECT_EQ(read.handshake.reply, record.handshake.reply);
  EXPECT_EQ(read.tree.resolution, record.tree.resolution);
}

TEST(MountRecord, NoProcessCanChangeItAfterwards) {
  const UniqueFd file = example().write();
  EXPECT_LT(::pwrite(file.get(), "x", 1, 0), 0);
  EXPECT_NE(::ftruncate(file.get(), 0), 0);
}

TEST(MountRecord, OfADaemonThatAnswersOtherwiseIsRefused) {
  std::string text = text_of(example().write());
  const std::string now = "\"answers\":" + std::to_string(MountRecord::kAnswers);
  ASSERT_NE(text.find(now), std::string::npos) << text;
  text.replace(text.find(now), now.size(), "\"answers\":999");
  const UniqueFd file = file_with(text);
  try {
    (void)MountRecord::read(file.get());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("pkgfs 1"), std::string::npos) << std::string(error.what());
  }
}

TEST(MountRecord, ADamagedOneIsRefused) {
  const std::string text = text_of(example().write());
  for (std::size_t size = 0; size < text.size(); ++size) {
    const UniqueFd file = file_with(text.substr(0, size));
    EXPECT_THROW((void)MountRecord::read(file.get()), Error) << size;
  }
  for (const char* const other : {"[]", "{}", "null", "{\"answers\":1}"}) {
    EXPECT_THROW((void)MountRecord::read(file_with(other).get()), Error) << other;
  }
  EXPECT_THROW((void)MountRecord::read(-1), Error);
}

}  // namespace
}  // namespace pkgfs
