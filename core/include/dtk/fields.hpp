#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

class BuildContext;

/// The numbers a field accepts. Made by the words below: `in(0, 1)`, `inside(0, 1)`, `above(0)`, `at_least(1)`.
struct Range {
    double lo = -std::numeric_limits<double>::infinity();
    double hi = std::numeric_limits<double>::infinity();
    bool lo_open = false;
    bool hi_open = false;
    const char* unit = "";  ///< of the number: "nats", "steps"; empty: a pure number
    constexpr Range measured_in(const char* what) const { return {lo, hi, lo_open, hi_open, what}; }
    constexpr bool holds(double value) const {
        return (lo_open ? value > lo : value >= lo) && (hi_open ? value < hi : value <= hi);
    }
};
constexpr Range in(double lo, double hi) { return {lo, hi, false, false}; }        ///< lo ≤ value ≤ hi
constexpr Range inside(double lo, double hi) { return {lo, hi, true, true}; }      ///< lo < value < hi
constexpr Range at_least(double lo) { return {.lo = lo}; }                         ///< value ≥ lo
constexpr Range above(double lo) { return {.lo = lo, .lo_open = true}; }           ///< value > lo
constexpr Range up_from(double lo, double hi) { return {lo, hi, false, true}; }    ///< lo ≤ value < hi
constexpr Range down_from(double lo, double hi) { return {lo, hi, true, false}; }  ///< lo < value ≤ hi
constexpr Range any_number() { return {}; }

/// The words a text field accepts.
using Choices = std::vector<std::string>;

using Row = std::vector<double>;

/// A plugin that another one (or the experiment) names: read and checked with the file, built when its owner asks.
class DTK_API AnyPart {
 public:
    /// Name of the plugin; empty before a file was read means the kind's default.
    std::string use;
    /// Set by whoever read the file.
    std::function<std::shared_ptr<void>(const BuildContext&)> build;

 protected:
    std::shared_ptr<void> built(const BuildContext& context) const;
};

/// A field whose value is a plugin of the kind `Interface`, as in `Part<Schedule> schedule;`.
template <class Interface>
class Part : public AnyPart {
 public:
    Part() = default;
    explicit Part(std::string name) { use = std::move(name); }
    /// The plugin itself. Errors: whatever its constructor throws.
    std::shared_ptr<Interface> make(const BuildContext& context) const {
        return std::static_pointer_cast<Interface>(built(context));
    }
};

/// A network that an earlier stage of the file or another run has trained, named by the stage's name or the run's
/// folder: found and hashed with what is made with it, read, frozen and brought to the run's device when its owner
/// asks.
class Reference {
 public:
    Reference() = default;
    explicit Reference(std::string name) : name_(std::move(name)) {}
    const std::string& name() const { return name_; }
    explicit operator bool() const { return !name_.empty(); }

 private:
    std::string name_;
    friend class Fields;
};

/// What a plugin's fields are shown to. A plugin declares each field once, by name, with its range and a line of
/// documentation; the member's initial value is the default. Reading a file, checking it, `plugins describe`, the
/// resolved experiment and the generated reference are different visitors over that one declaration.
class DTK_API Fields {
 public:
    virtual ~Fields();
    virtual void operator()(const char* key, double& value, Range range, const char* doc) = 0;
    virtual void operator()(const char* key, std::int64_t& value, Range range, const char* doc) = 0;
    virtual void operator()(const char* key, bool& value, const char* doc) = 0;
    virtual void operator()(const char* key, std::string& value, const Choices& choices, const char* doc) = 0;
    virtual void operator()(const char* key, std::string& value, const char* doc) = 0;
    /// A file or folder; what a person writes is relative to the experiment file, what arrives here is absolute.
    virtual void operator()(const char* key, std::filesystem::path& value, const char* doc) = 0;
    virtual void operator()(const char* key, std::vector<double>& value, Range range, const char* doc) = 0;
    virtual void operator()(const char* key, std::vector<std::int64_t>& value, Range range, const char* doc) = 0;
    virtual void operator()(const char* key, std::vector<std::string>& value, const char* doc) = 0;
    virtual void operator()(const char* key, std::vector<Row>& value, Range range, const char* doc) = 0;
    /// The same field, which has no default: a file that does not set it is mistaken.
    template <class Value, class... Rest>
    void required(const char* key, Value& value, const Rest&... rest) {
        has_no_default(key);
        (*this)(key, value, rest...);
    }
    /// Fields that depend on one another: where it does not hold, the file is mistaken at `key`. problem: "must be
    /// above beta_start"; cure: what to do about it. Declared after the fields that it is about.
    virtual void require(bool holds, const char* key, const std::string& problem, const std::string& cure) = 0;
    /// Ask `context.trained(value)` for what it names.
    void operator()(const char* key, Reference& value, const char* doc) { reference(key, value.name_, doc); }
    template <class Interface>
    void operator()(const char* key, Part<Interface>& value, const char* doc) {
        plugin(key, Interface::kind, value, doc);
    }

 protected:
    virtual void plugin(const char* key, const char* kind, AnyPart& value, const char* doc) = 0;
    virtual void reference(const char* key, std::string& name, const char* doc) = 0;
    virtual void has_no_default(const char* key) = 0;
};

}  // namespace dtk
