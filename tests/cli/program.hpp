// Runs the real program, as a shell would: its output, its errors, its exit status; on pipes or on a terminal of a
// given width.
#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sstream>
#include <string>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/scratch.hpp"

namespace fovea::testing {

using Words = std::vector<std::string>;
using Environment = std::map<std::string, std::string>;

struct Outcome {
  int status = -1;
  std::string out, err;
};  // status: exit status, or −signal

struct Setting {
  std::string input;                   // of standard input
  Environment environment;             // over and above the test's own
  std::filesystem::path folder = ".";  // to run in
};

namespace detail {

inline int status_of(int raw) { return WIFEXITED(raw) ? WEXITSTATUS(raw) : -WTERMSIG(raw); }

/// In the child: nothing of the caller's terminal settings, then the given ones, then the program.
[[noreturn]] inline void become(const Words& command, const Setting& setting) {
  for (const char* name : {"NO_COLOR", "COLUMNS", "FOVEA_ISA"}) unsetenv(name);
  setenv("TERM", "xterm-256color", 1);
  for (const auto& [name, value] : setting.environment) setenv(name.c_str(), value.c_str(), 1);
  if (chdir(setting.folder.c_str()) != 0) _exit(126);
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  _exit(127);
}

inline void read_all(std::array<int, 2> from, std::array<std::string*, 2> into) {
  std::array<pollfd, 2> wanted{pollfd{from[0], POLLIN, 0}, pollfd{from[1], POLLIN, 0}};
  for (int open = 2; open > 0;) {
    poll(wanted.data(), 2, -1);
    for (std::size_t i = 0; i < 2; ++i) {
      if (wanted[i].fd < 0 || !wanted[i].revents) continue;
      std::array<char, 65536> bytes;
      const ssize_t n = read(wanted[i].fd, bytes.data(), bytes.size());
      if (n > 0)
        into[i]->append(bytes.data(), static_cast<std::size_t>(n));
      else
        close(wanted[i].fd), wanted[i].fd = -1, --open;
    }
  }
}

}  // namespace detail

/// A program under way: for tests that interrupt it.
class Running {
 public:
  explicit Running(const Words& command, const Setting& setting = {}) {
    int in[2], out[2], err[2];
    if (pipe(in) != 0 || pipe(out) != 0 || pipe(err) != 0) throw std::runtime_error("pipe failed");
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], 0), dup2(out[1], 1), dup2(err[1], 2);
      for (const int fd : {in[0], in[1], out[0], out[1], err[0], err[1]}) close(fd);
      detail::become(command, setting);
    }
    close(in[0]), close(out[1]), close(err[1]);
    out_ = out[0], err_ = err[0];
    // A thread feeds the input, so that a program that writes before it reads cannot block us both.
    feeder_ = std::thread([fd = in[1], text = setting.input] {
      signal(SIGPIPE, SIG_IGN);
      for (std::size_t at = 0; at < text.size();) {
        const ssize_t n = write(fd, text.data() + at, text.size() - at);
        if (n <= 0) break;
        at += static_cast<std::size_t>(n);
      }
      close(fd);
    });
  }
  void interrupt(int signal = SIGINT) const { kill(pid_, signal); }
  Outcome wait() {
    Outcome o;
    detail::read_all({out_, err_}, {&o.out, &o.err});
    feeder_.join();
    int raw = 0;
    waitpid(pid_, &raw, 0);
    o.status = detail::status_of(raw);
    return o;
  }

 private:
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1;
  std::thread feeder_;
};

inline Outcome run_command(const Words& command, const Setting& setting = {}) {
  return Running(command, setting).wait();
}

/// The program of this build, or another one that is to be tested in its place.
inline std::string program() {
  const char* other = std::getenv("FOVEA_TESTED_PROGRAM");
  return other != nullptr ? other : FOVEA_PROGRAM;
}

/// fovea with these arguments.
inline Outcome fovea(Words arguments, const Setting& setting = {}) {
  arguments.insert(arguments.begin(), program());
  return run_command(arguments, setting);
}

/// Whether a pseudo-terminal can be opened here: not where /dev/pts is not mounted, as in a bare chroot.
inline bool terminals() {
  int terminal = -1, program = -1;
  if (openpty(&terminal, &program, nullptr, nullptr, nullptr) != 0) return false;
  close(terminal), close(program);
  return true;
}

/// fovea on a terminal of that many columns; standard output and standard error arrive together.
inline Outcome fovea_on_terminal(Words arguments, unsigned short columns, const Setting& setting = {}) {
  arguments.insert(arguments.begin(), program());
  winsize size{};
  size.ws_row = 30, size.ws_col = columns;
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, &size);
  if (pid < 0) throw std::runtime_error("no pseudo-terminal could be opened");
  if (pid == 0) detail::become(arguments, setting);
  Outcome o;
  std::array<char, 65536> bytes;
  for (ssize_t n; (n = read(terminal, bytes.data(), bytes.size())) > 0;)
    o.out.append(bytes.data(), static_cast<std::size_t>(n));
  close(terminal);
  int raw = 0;
  waitpid(pid, &raw, 0);
  o.status = detail::status_of(raw);
  std::erase(o.out, '\r');
  return o;
}

inline Words lines_of(const std::string& text) {
  Words lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// The text without its colours.
inline std::string without_colours(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033')
      i = std::min(text.find('m', i), text.size() - 1);
    else
      plain += text[i];
  }
  return plain;
}

/// Characters of a line, for text where each takes one column.
inline std::size_t characters(const std::string& line) {
  return static_cast<std::size_t>(
      std::count_if(line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

inline std::size_t widest_line(const std::string& text) {
  std::size_t widest = 0;
  for (const std::string& line : lines_of(without_colours(text))) widest = std::max(widest, characters(line));
  return widest;
}

/// An error is this status, nothing on standard output, and one line `fovea: …` that holds every one of the words.
inline void expect_error(const Outcome& o, int status, const Words& words) {
  EXPECT_EQ(o.status, status) << o.out << o.err;
  EXPECT_EQ(o.out, "");
  EXPECT_TRUE(o.err.starts_with("fovea: ")) << o.err;
  EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
  EXPECT_TRUE(o.err.ends_with('\n'));
  for (const std::string& word : words)
    EXPECT_NE(o.err.find(word), std::string::npos) << "no '" << word << "' in: " << o.err;
}

/// The one JSON object of a command that must succeed.
inline nlohmann::ordered_json json_of(const Outcome& o) {
  EXPECT_EQ(o.status, 0) << o.err;
  const auto json =
      nlohmann::ordered_json::parse(o.out, nullptr, false);  // also fails when anything stands after the object
  EXPECT_TRUE(json.is_object()) << o.out;
  return json;
}

}  // namespace fovea::testing
