#pragma once
#include <map>
#include <string>
#include <vector>

#include <dtk/error.hpp>

namespace dtk {

/// Where something stands: a file or, for `--set`, what was typed.
struct SourceLocation {
    std::string source;
    int line = 0;  ///< 0: the source as a whole
    int column = 0;
    int width = 1;
    bool operator<(const SourceLocation& other) const {
        return std::tie(source, line, column) < std::tie(other.source, other.line, other.column);
    }
    bool operator==(const SourceLocation& other) const = default;
};

struct Mistake {
    SourceLocation place;
    std::string message;  ///< one sentence without a full stop
    std::string help;     ///< the likely cure
    int exit_code = 2;    ///< 2: a mistake in a file; 3: a plugin that cannot be used
    std::string in = {};  ///< the arm of a study that shows it; empty where any would
};

/// Everything that is wrong with what a person wrote, printed at once and in order.
class DTK_API Diagnostics {
 public:
    void add(SourceLocation place, std::string message, std::string help = {});
    void add_plugin(SourceLocation place, const Error& error);
    /// A source's text, for showing the line in question.
    void remember(const std::string& source, std::string text) { texts_[source] = std::move(text); }
    /// What nobody typed as `source` stands in a file, there.
    void stands_at(const std::string& source, SourceLocation place) { origins_[source] = std::move(place); }
    /// What is written at the place, as it is written; empty where that is not known.
    std::string written(const SourceLocation& place) const;
    /// What others found in that arm of a study is added, where it is not known already.
    void take(Diagnostics&& others, const std::string& arm = {});
    bool empty() const { return found_.empty(); }
    std::size_t count() const { return found_.size(); }
    /// All that was found as one error, its cures as the cure.
    Error as_error() const;
    /// 0 when there are none, 3 when all are a plugin's fault, else 2.
    int exit_code() const;
    /// Sorted, each with its line of source.
    std::string text() const;

 private:
    SourceLocation origin(SourceLocation place) const;

    std::vector<Mistake> found_;
    std::map<std::string, std::string> texts_;
    std::map<std::string, SourceLocation> origins_;
};

/// An error whose place in a file is known.
class DTK_API PlacedError : public Error {
 public:
    PlacedError(SourceLocation place, const std::string& message, std::string help, bool plugins_fault)
        : Error(message, std::move(help)), place(std::move(place)), plugins_fault(plugins_fault) {}
    ~PlacedError() override;
    SourceLocation place;
    bool plugins_fault;
};

}  // namespace dtk
