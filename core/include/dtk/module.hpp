#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <dtk/random.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// Something that may own named tensors: parameters, which are trained and averaged, and buffers, which are kept.
/// Checkpoint, optimiser, EMA and device moves treat the tensors of every plugin alike, by name.
///
/// A handle stays valid: `to` and loading change the tensor it holds, not the handle, so a plugin registers once, in
/// its constructor, keeps the returned reference, and uses it in its forward pass.
class DTK_API Module {
 public:
    Module() = default;
    Module(const Module&) = delete;
    Module& operator=(const Module&) = delete;
    virtual ~Module();

    struct Named {
        std::string name;  ///< path of names joined by dots
        Tensor* tensor;
        bool trained;
        bool saved;
    };
    /// Every tensor of this module and of its children, in the order of registration.
    std::vector<Named> named_tensors() const;
    /// The trained ones.
    std::vector<Tensor> parameters() const;
    /// Moves every tensor to the device.
    void to(at::Device device);
    /// No tensor is trained any more; children follow.
    void freeze();
    /// Training or not; children follow. Dropout is the only thing that asks.
    void train(bool on);
    bool training() const { return training_; }

 protected:
    /// Registers a trained tensor (float32 unless the value says otherwise) → the handle to use.
    Tensor& parameter(const std::string& name, Tensor value);
    /// Registers a tensor that is saved and moved but not trained.
    Tensor& buffer(const std::string& name, Tensor value);
    /// Registers a tensor that follows from the fields: moved, but neither saved nor trained.
    Tensor& constant(const std::string& name, Tensor value);
    /// Registers a part; its tensors' names get the prefix `name.`.
    template <class Part>
    std::shared_ptr<Part> child(const std::string& name, std::shared_ptr<Part> part) {
        add_child(name, part);
        return part;
    }
    /// The same for a part that is made here, whose initial values come from the random numbers of its own name:
    /// `child<Linear>("in", random, 2, 128)`.
    template <class Part, class... Args>
    std::shared_ptr<Part> child(const std::string& name, const Random& random, Args&&... args) {
        return child(name, std::make_shared<Part>(random.stream(name), std::forward<Args>(args)...));
    }

 private:
    void add_child(const std::string& name, std::shared_ptr<Module> part);
    struct Slot {
        std::string name;
        std::unique_ptr<Tensor> tensor;
        bool trained;
        bool saved;
    };
    std::vector<Slot> slots_;
    std::vector<std::pair<std::string, std::shared_ptr<Module>>> children_;
    bool training_ = true;
};

}  // namespace dtk
