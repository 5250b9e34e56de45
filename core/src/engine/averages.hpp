#pragma once
// Running averages of the trained tensors, several at once, each by its plugin.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <dtk/optimizer.hpp>

#include "engine/snapshots.hpp"
#include "engine/stage.hpp"

namespace dtk {

class DTK_API Averages {
 public:
    Averages(const Stage& stage, const Parameters& parameters);
    /// After step `step` (from 0).
    void update(std::int64_t step);
    bool empty() const { return all_.empty(); }
    /// Those that are by a power of the time.
    std::vector<PowerAverage> powers() const;
    /// By the average's name, the tensors by theirs.
    std::map<std::string, NamedTensors> state() const;
    /// Errors: Error naming what is missing.
    void restore(const std::map<std::string, NamedTensors>& state);

    /// Puts the first average in the place of the tensors for as long as it lives.
    class DTK_API Swapped {
     public:
        explicit Swapped(Averages& averages);
        ~Swapped();

     private:
        void swap();
        Averages& averages_;
    };

 private:
    struct One {
        std::string name;
        std::shared_ptr<Average> law;
        std::vector<Tensor> tensors;
    };
    std::vector<std::string> names_;
    std::vector<Tensor> parameters_;
    std::vector<One> all_;
};

}  // namespace dtk
