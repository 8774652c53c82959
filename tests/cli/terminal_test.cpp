// What a person sees: widths of 80 and 140 columns, colours on terminals only, and nothing wider than the screen.
#include <gtest/gtest.h>

#include "program.hpp"
#include "tensor_file.hpp"

namespace fovea::testing {
namespace {

class Terminal : public ::testing::Test {
  void SetUp() override {
    if (!terminals()) GTEST_SKIP() << "skipped: no pseudo-terminal can be opened (is /dev/pts mounted?)";
  }
};

/// Commands that need no model.
std::vector<Words> plain_commands() {
  return {Words{"--help"},
          Words{"info"},
          Words{"explain", "--shape", "2x32x65536x128", "--kv-heads", "8", "--causal"},
          Words{"explain", "--dtype", "f64"},
          Words{"explain", "--kernel", "reference", "--window", "3:4"},
          Words{"attend", "--help"},
          Words{"look", "--help"},
          Words{"measure", "--help"},
          Words{"bench", "--help"},
          Words{"embed", "--help"},
          Words{"run", "--help"},
          Words{"translate", "--help"},
          Words{"train", "--help"},
          Words{"study", "--help"},
          Words{"prune", "--help"},
          Words{"info", "--help"},
          Words{"explain", "--help"}};
}

void expect_fits(const Outcome& o, std::size_t columns) {
  EXPECT_EQ(o.status, 0) << o.out;
  EXPECT_LE(widest_line(o.out), columns) << o.out;
}

/// Without a terminal lines are as wide as COLUMNS says: what a machine that has no terminal can see of them.
TEST(Columns, NoLineIsWider) {
  for (const std::size_t columns : {80, 140})
    for (const Words& line : plain_commands())
      expect_fits(fovea(line, {"", {{"COLUMNS", std::to_string(columns)}}}), columns);
}

TEST_F(Terminal, NoLineIsWiderThanTheTerminal) {
  for (const std::uint16_t columns : {std::uint16_t{80}, std::uint16_t{140}})
    for (const Words& line : plain_commands()) expect_fits(fovea_on_terminal(line, columns), columns);
}

TEST_F(Terminal, NoLineOfTheModelsScreensIsWiderEither) {
  const std::string text = "The animal didn't cross the street because it was too tired.";
  for (const std::uint16_t columns : {std::uint16_t{80}, std::uint16_t{140}})
    for (const Words& line :
         {Words{"translate", "--look", text}, Words{"look", text, "--token", "it", "--measure"},
          Words{"look", text, "--kind", "cross"}, Words{"measure", text, "--cut", "it:animal,it:tired"},
          Words{"measure", text, "--all", "heads"}, Words{"info", "--model", "demo"}}) {
      const Outcome o = fovea_on_terminal(line, columns);
      expect_fits(o, columns);
      EXPECT_EQ(o.out.find("…"), std::string::npos) << "nothing is cut off\n" << o.out;
    }
}

TEST_F(Terminal, ColumnsComesBeforeTheTerminalAndEightyWithoutEither) {
  const Words line{"explain", "--shape", "2x32x65536x128", "--kv-heads", "8", "--causal"};
  EXPECT_LE(widest_line(fovea(line).out), 80u);
  EXPECT_GT(widest_line(fovea(line, {"", {{"COLUMNS", "140"}}}).out), 80u);
  EXPECT_LE(widest_line(fovea_on_terminal(line, 140, {"", {{"COLUMNS", "60"}}}).out), 60u);
}

TEST_F(Terminal, ColoursOnATerminalAndNowhereElse) {
  const auto coloured = [](const std::string& text) { return text.find('\033') != std::string::npos; };
  for (const Words& line : {Words{"--help"}, Words{"info"}, Words{"explain"}}) {
    EXPECT_TRUE(coloured(fovea_on_terminal(line, 80).out));
    EXPECT_FALSE(coloured(fovea(line).out));
    EXPECT_FALSE(coloured(fovea_on_terminal(line, 80, {"", {{"NO_COLOR", "1"}}}).out));
    EXPECT_TRUE(coloured(fovea_on_terminal(line, 80, {"", {{"NO_COLOR", ""}}}).out)) << "an empty NO_COLOR is none";
    EXPECT_FALSE(coloured(fovea_on_terminal(line, 80, {"", {{"TERM", "dumb"}}}).out));
    EXPECT_EQ(without_colours(fovea_on_terminal(line, 80).out),
              fovea_on_terminal(line, 80, {"", {{"NO_COLOR", "1"}}}).out);
  }
}

TEST_F(Terminal, NotesAreForTerminalsOnly) {
  const Words line{"bench", "attention", "--shape", "1x1x64x16"};
  EXPECT_EQ(fovea(line).err, "");
  EXPECT_NE(fovea_on_terminal(line, 80).out.find("timing"), std::string::npos);
}

TEST_F(Terminal, JsonIsTheSameOnATerminal) {
  const Words line{"explain", "--json"};
  EXPECT_EQ(fovea_on_terminal(line, 80).out, fovea(line).out);
}

}  // namespace
}  // namespace fovea::testing
