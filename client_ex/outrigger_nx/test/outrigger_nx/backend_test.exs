defmodule Outrigger.Nx.BackendTest do
  use ExUnit.Case, async: true
  import Outrigger.Nx.Wait
  alias Outrigger.Nx.Backend

  defp server(options \\ []) do
    name = :"nx_#{System.unique_integer([:positive])}"
    start_supervised!({Outrigger, [name: name, threads: 1] ++ options}, id: name)
    name
  end

  # Callbacks that are no op: they move or read values. (`triangular_solve` and the folds are both.)
  @no_op [:init, :from_binary, :to_binary, :inspect, :to_batched, :backend_copy, :block] ++
           [:backend_transfer, :backend_deallocate, :to_pointer, :from_pointer]

  test "every callback of Nx.Backend is there, and every op is lowered" do
    Code.ensure_loaded!(Backend)
    ops = Outrigger.Nx.Lowering.ops()

    for {name, arity} <- Nx.Backend.behaviour_info(:callbacks) do
      assert function_exported?(Backend, name, arity), "#{name}/#{arity}"
      assert name in ops or name in @no_op, "#{name} is not lowered"
    end
  end

  test "pointers are refused in words" do
    t = Nx.iota({3})
    assert_raise ArgumentError, ~r/to_pointer.*another process/, fn -> Nx.to_pointer(t) end

    assert_raise ArgumentError, ~r/from_pointer.*another process/, fn ->
      Nx.from_pointer(Backend, %Nx.Pointer{kind: :local, address: 1}, {:s, 32}, {3})
    end
  end

  test "a singular triangular matrix is refused at once, as Nx does" do
    a = Nx.tensor([[0.0, 0.0], [1.0, 1.0]])

    assert_raise ArgumentError, "can't solve for singular matrix", fn ->
      Nx.LinAlg.triangular_solve(a, Nx.tensor([1.0, 2.0]))
    end
  end

  test "the pseudo-inverse of a matrix without full rank" do
    a = Nx.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    product = a |> Nx.dot(Nx.LinAlg.pinv(a)) |> Nx.dot(a)
    assert Nx.to_number(Nx.all_close(product, a, atol: 1.0e-4)) == 1
  end

  test "nothing waits until a value is read" do
    t = Nx.iota({1000, 1000}, type: :f32)
    {us, t} = :timer.tc(fn -> Enum.reduce(1..50, t, fn _, t -> Nx.sin(t) end) end)
    {all_us, _} = :timer.tc(fn -> Nx.to_binary(t[0]) end)
    # 5 · 10⁷ sines take their time; sending them does not.
    assert us < all_us
  end

  test "inspecting reads a limited slice" do
    server = server()
    t = Nx.iota({10_000_000}, type: :f32, backend: {Backend, server: server})
    Outrigger.sync!(server)
    {us, text} = :timer.tc(fn -> inspect(t, limit: 3) end)
    assert text =~ "[0.0, 1.0, 2.0, ...]"
    assert us < 100_000
  end

  test "a scalar that is known asks no daemon" do
    t = Nx.tensor(7)
    assert t.data.ref == nil
    assert Nx.to_number(t) == 7
    assert Nx.to_binary(Nx.tensor(1.0e300)) == <<0x7F800000::32-native>>
  end

  test "a read of a failed operation raises its error" do
    t = Nx.gather(Nx.tensor([1, 2, 3]), Nx.tensor([[5]]))
    error = assert_raise Outrigger.Error, fn -> Nx.to_binary(t) end
    assert error.code == :bad_index
    assert Exception.message(error) =~ "gather"
    assert inspect(t) =~ "bad_index"
    # A tensor that is computed from it fails with the first cause.
    assert_raise Outrigger.Error, ~r/gather/, fn -> Nx.to_binary(Nx.add(t, 1)) end
  end

  test "incompatible shapes raise Nx's own errors before anything is sent" do
    assert_raise ArgumentError, ~r/cannot broadcast/, fn ->
      Nx.add(Nx.iota({2}), Nx.iota({3}))
    end
  end

  test "tensors move between servers, and do not mix" do
    {one, two} = {server(), server()}
    a = Nx.tensor([1, 2], backend: {Backend, server: one})
    b = Nx.tensor([3, 4], backend: {Backend, server: two})

    assert_raise Outrigger.ConnectionError, ~r/another Outrigger server/, fn ->
      Nx.add(a, b)
    end

    moved = Nx.backend_transfer(b, {Backend, server: one})
    assert Nx.to_flat_list(Nx.add(a, moved)) == [4, 6]
    assert Nx.backend_deallocate(b) == :already_deallocated
  end

  test "copy, transfer and deallocate" do
    t = Nx.iota({3})
    copy = Nx.backend_copy(t, Backend)
    assert Nx.backend_deallocate(t) == :ok
    assert Nx.backend_deallocate(t) == :already_deallocated
    assert Nx.to_flat_list(copy) == [0, 1, 2]
    binary = Nx.backend_transfer(copy, Nx.BinaryBackend)
    assert %Nx.BinaryBackend{} = binary.data
    assert Nx.backend_deallocate(copy) == :already_deallocated
    assert_raise Outrigger.Error, ~r/released|no tensor/, fn -> Nx.to_binary(copy) end
  end

  test "batches" do
    t = Nx.iota({5, 2})
    batches = t |> Nx.to_batched(2) |> Enum.map(&Nx.to_list/1)
    assert batches == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [0, 1]]]
    batches = t |> Nx.to_batched(2, leftover: :discard) |> Enum.map(&Nx.to_list/1)
    assert batches == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
  end

  test "a dead daemon raises once, then work goes on; old tensors say what they are" do
    server = server()
    options = {Backend, server: server}
    t = Nx.iota({3}, backend: options)
    assert Nx.to_flat_list(t) == [0, 1, 2]
    os_pid = Outrigger.info!(server).os_pid
    :os.cmd(~c"kill -9 #{os_pid}")
    wait_until(fn -> match?({:ok, %{os_pid: pid}} when pid != os_pid, Outrigger.info(server)) end)

    error = assert_raise Outrigger.ConnectionError, fn -> Nx.to_binary(t) end
    assert error.reason == :stale_epoch
    assert inspect(t) =~ "make the tensor again"
    assert_raise Outrigger.ConnectionError, fn -> Nx.add(t, 1) end
    assert Nx.to_flat_list(Nx.add(Nx.iota({3}, backend: options), 1)) == [1, 2, 3]
  end

  test "unknown options are refused" do
    assert_raise ArgumentError, ~r/unknown keys/, fn ->
      Nx.default_backend({Backend, servr: :x})
    end
  end

  describe "mutable" do
    defp mutable(value, options \\ []),
      do: Nx.tensor(value, [backend: {Backend, mutable: true}] ++ options)

    test "the receiver is written and returned" do
      t = mutable([1, 2, 3, 4])
      u = Nx.put_slice(t, [1], Nx.tensor([20, 30]))
      assert u.data == t.data
      assert Nx.to_flat_list(t) == [1, 20, 30, 4]
      Nx.indexed_add(t, Nx.tensor([[0], [0]]), Nx.tensor([5, 5]))
      Nx.indexed_put(t, Nx.tensor([[3]]), Nx.tensor([9]))
      assert Nx.to_flat_list(t) == [11, 20, 30, 9]
    end

    test "element-wise operations write if the result fits" do
      t = mutable([1, 2, 3])
      reversed = Nx.reverse(t)
      Nx.add(t, 10)
      assert Nx.to_flat_list(t) == [11, 12, 13]
      assert Nx.to_flat_list(reversed) == [3, 2, 1]
      # A float does not fit.
      divided = Nx.divide(t, 2)
      assert Nx.to_flat_list(t) == [11, 12, 13]
      assert Nx.to_flat_list(divided) == [5.5, 6.0, 6.5]
    end

    test "other tensors keep their values" do
      t = Nx.iota({3})
      m = Nx.backend_copy(t, {Backend, mutable: true})
      Nx.multiply(m, 2)
      assert Nx.to_flat_list(m) == [0, 2, 4]
      assert Nx.to_flat_list(t) == [0, 1, 2]
    end

    test "scalars are written, too" do
      t = mutable(1)
      Nx.add(t, 1)
      assert Nx.to_number(t) == 2
    end
  end
end
