defmodule Outrigger.Nx.EagerTest do
  # Numbers of operations outside of defn are arguments of their programs: which changes no bit.
  use ExUnit.Case, async: true
  alias Outrigger.Nx.{Backend, Builder, Lowering}

  setup do
    name = :"eager_#{System.unique_integer([:positive])}"
    start_supervised!({Outrigger, name: name, threads: 1})
    Nx.default_backend({Backend, server: name})
    Nx.Defn.default_options(compiler: Outrigger.Nx)
    %{server: name, backend: {Backend, server: name}}
  end

  @integers [:s8, :u8, :s32, :s64, :u64]
  @floats [:f8_e4m3fn, :bf16, :f16, :f32, :f64]
  @complex [:c64, :c128]
  @numbers [0, 1, 2, 3, -7, 200, 70_000, 2 ** 40, 2 ** 53 + 1, 2 ** 63, 0.0, -0.0, 1.0, 2.0, 0.1] ++
             [-2.5, 3.0e38, 1.0e-45, 1.0e300]
  @unusual [:nan, :infinity, :neg_infinity]

  @arithmetic [:add, :subtract, :multiply, :pow, :divide, :atan2, :min, :max]
  @compared [:equal, :less, :greater_equal]
  @logical [:logical_and, :logical_xor]

  # The operation on the scalar at this position, as a program that has it as a constant.
  defp constant(op, out, args, at) do
    scalar = Enum.at(args, at)
    tensor = Enum.at(args, 1 - at)
    shape = tensor.shape
    {x, builder} = Builder.parameter(%Builder{}, 0, 0, tensor.type, shape)
    {:number, number} = Backend.source(scalar)
    values = List.insert_at([x], at, Builder.constant(number, scalar.type))
    {value, builder} = Lowering.lower(builder, op, Nx.to_template(out), values)
    {id, builder} = Builder.id(value, builder)
    program = Builder.program(builder, Builder.params(builder), [id])
    %{server: server} = ref = tensor.data.ref
    [ref] = Outrigger.run(server, program, [ref])
    %{out | data: %{out.data | ref: ref}}
  end

  defp same?(op, tensor, scalar) do
    for {args, at} <- [{[tensor, scalar], 1}, {[scalar, tensor], 0}] do
      passed = apply(Nx, op, args)
      known = constant(op, passed, args, at)

      assert Nx.to_binary(passed) == Nx.to_binary(known),
             inspect({op, args, passed, known})
    end
  end

  # Other operations, as Nx.Defn writes them.
  defp compiled?(fun, tensor, number) do
    eager = fun.(tensor, number)
    known = if is_struct(number, Nx.Tensor), do: Nx.backend_copy(number, Nx.BinaryBackend)
    compiled = Nx.Defn.jit(&fun.(&1, known || number)).(tensor)
    assert Nx.type(eager) == Nx.type(compiled)
    assert Nx.to_binary(eager) == Nx.to_binary(compiled), inspect({eager, compiled, number})
  end

  defp tensor(type) when type in @floats, do: Nx.tensor([1.5, -0.0, 3.0, :nan], type: type)
  defp tensor(:u64), do: Nx.tensor([1, 0, 2 ** 64 - 1], type: :u64)
  defp tensor(type) when type in @complex, do: Nx.tensor([Complex.new(1, -2), 0.5], type: type)
  defp tensor(type), do: Nx.tensor([1, 0, 100, 5], type: type)

  defp scalar(number) when is_integer(number) and number >= 0x8000000000000000,
    do: Nx.tensor(number, type: :u64)

  defp scalar(number) when is_integer(number) and abs(number) > 0x7FFFFFFF,
    do: Nx.tensor(number, type: :s64)

  defp scalar(number) when is_number(number), do: Nx.tensor(number)
  defp scalar(name), do: Nx.tensor(name, type: :f32, backend: Nx.BinaryBackend)

  for type <- @integers ++ @floats do
    test "#{type} and numbers: every bit as if they were constants of the program" do
      tensor = tensor(unquote(type))

      for number <- @numbers ++ @unusual, op <- @arithmetic ++ @compared ++ @logical do
        same?(op, tensor, scalar(number))
      end
    end
  end

  test "scalars of each type, complex ones too" do
    for type <- [:f32, :s32, :bf16, :c64], scalar <- @integers ++ @floats ++ @complex do
      for number <- [3, 0], op <- [:add, :multiply, :equal] do
        same?(op, tensor(type), Nx.tensor(number, type: scalar))
      end
    end

    for number <- [Complex.new(0.1, -0.0), Complex.new(-3, 2)], op <- [:add, :multiply, :pow] do
      for type <- [:f32, :s64, :c64, :c128, :f64],
          scalar <- @complex,
          do: same?(op, tensor(type), Nx.tensor(number, type: scalar))
    end
  end

  test "other operations with numbers" do
    for type <- [:s32, :u8, :f32, :bf16], number <- [3, 1, -2], tensor = tensor(type) do
      compiled?(&Nx.clip(&1, &2, Nx.add(&2, 5)), tensor, number)
      compiled?(&Nx.select(Nx.greater(&1, 1), &1, &2), tensor, number)
      compiled?(&Nx.pad(&1, &2, [{1, 2, 0}]), tensor, Nx.as_type(number, type))

      compiled?(
        &Nx.put_slice(&1, [&2], Nx.tensor([7], type: type, backend: Nx.BinaryBackend)),
        tensor,
        abs(number)
      )

      compiled?(&Nx.slice(&1, [&2], [1]), tensor, abs(number))

      compiled?(
        &Nx.indexed_put(&1, Nx.tensor([[1]], backend: Nx.BinaryBackend), Nx.reshape(&2, {1})),
        tensor,
        Nx.as_type(number, type)
      )
    end
  end

  test "slices at other places, along whole axes and parts of them", %{backend: backend} do
    t = Nx.iota({6, 5})
    binary = Nx.backend_copy(t, Nx.BinaryBackend)

    for i <- 0..5, j <- 0..4 do
      assert Nx.to_number(t[i][j]) == i * 5 + j
      assert Nx.to_list(t[i]) == Nx.to_list(binary[i])

      assert Nx.to_list(Nx.slice(t, [i, j], [2, 5])) ==
               Nx.to_list(Nx.slice(binary, [i, j], [2, 5]))

      patch = [[1, 2]]
      put = &Nx.put_slice(&1, [i, j], Nx.tensor(patch, backend: &2))
      assert Nx.to_list(put.(t, backend)) == Nx.to_list(put.(binary, Nx.BinaryBackend))
      put = &Nx.put_slice(&1, [Nx.tensor(i, backend: &2), j], Nx.tensor(patch, backend: &2))
      due = Nx.with_default_backend(Nx.BinaryBackend, fn -> put.(binary, Nx.BinaryBackend) end)
      assert Nx.to_list(put.(t, backend)) == Nx.to_list(due)
    end
  end

  test "a mutable receiver is written, whatever the number", %{server: server} do
    t = Nx.tensor([1.0, 2.0], backend: {Backend, server: server, mutable: true})
    for number <- [2, 0.5, -0.0, 3.0], do: Nx.add(t, number)
    assert Nx.to_list(t) == [6.5, 7.5]
    for i <- [0, 1], do: Nx.put_slice(t, [i], Nx.tensor([i + 0.5]))
    assert Nx.to_list(t) == [0.5, 1.5]
    # The number as the receiver of an operation is no tensor to write.
    assert Nx.to_list(Nx.subtract(10, t)) == [9.5, 8.5]
    assert Nx.to_list(t) == [0.5, 1.5]
  end

  test "other numbers in each turn have one program", %{server: server} do
    t = Nx.iota({4}, type: :f32)
    small = Nx.iota({4}, type: :bf16)
    programs = fn -> Outrigger.info!(server).programs end

    turns = fn range ->
      for i <- range do
        t |> Nx.multiply(i + 0.25) |> Nx.add(i) |> Nx.clip(-i, i * 2.5) |> Nx.to_binary()
        small |> Nx.multiply(i + 0.25) |> Nx.add(i) |> Nx.clip(-i, i * 2.5) |> Nx.to_binary()
        Nx.to_number(t[rem(i, 4)])
        Nx.to_binary(Nx.broadcast(i * 0.5, {3}))
        Nx.to_binary(Nx.stack([i, i * 0.25, t[0], i + 1]))
        Nx.put_slice(t, [rem(i, 3)], Nx.tensor([i / 1])) |> Nx.to_binary()
      end
    end

    turns.(3..4)
    before = programs.()
    turns.(5..200)
    assert programs.() == before
  end

  test "a number beside a tensor of its type is part of the call", %{server: server} do
    server = Outrigger.Server.fetch!(server)

    # The handles of one operation. A caller takes several at once.
    handles = fn operation ->
      before = Outrigger.Server.last_handle(server)
      for i <- 5..104, do: operation.(i)
      round((Outrigger.Server.last_handle(server) - before) / 100)
    end

    for type <- [:u8, :s64, :bf16, :f16, :f32, :f64, :c64, :c128] do
      t = Nx.iota({4}, type: type)
      part = t[0..1]
      assert handles.(&Nx.multiply(t, &1)) == 1
      assert handles.(&Nx.select(t, &1, t)) == 1
      assert handles.(&Nx.slice(t, [rem(&1, 3)], [2])) == 1
      assert handles.(&Nx.put_slice(t, [rem(&1, 3)], part)) == 1
      assert handles.(&Nx.equal(t, Nx.tensor(&1, type: type))) == 1
      if type not in [:c64, :c128], do: assert(handles.(&Nx.clip(t, 1, &1)) == 1)
      if type == :f32, do: assert(handles.(&Nx.pad(t, &1 / 2, [{1, 0, 0}])) == 1)
    end

    # The type of this number has an effect.
    t = Nx.iota({4}, type: :f32)
    assert handles.(&Nx.less(t, Nx.tensor(&1 / 10, type: :f64))) == 2
    # There is no tensor beside this number.
    assert handles.(&Nx.broadcast(&1, {3})) == 2
  end

  test "mixed operands of a small float keep their types beside numbers" do
    for type <- [:u2, :s32, :f8], small <- [:bf16, :f16, :f8_e4m3fn], high <- [2, 5] do
      x = Nx.tensor([1, 0, 1], type: type)
      low = Nx.tensor(1, type: small)
      assert Nx.to_list(Nx.clip(x, low, high)) == [1, 1, 1]
    end
  end

  test "operands cost the caller in proportion to their number" do
    tensors = for i <- 1..4_000, do: Nx.tensor([i, i])
    Nx.Defn.default_options(compiler: Nx.Defn.Evaluator)

    # Steps of this process, as the VM counts them.
    steps = fn count ->
      operands = Enum.take(tensors, count)
      {:reductions, before} = Process.info(self(), :reductions)
      stacked = Nx.stack(operands)
      {:reductions, now} = Process.info(self(), :reductions)
      {now - before, stacked}
    end

    {few, _} = steps.(1_000)
    {many, stacked} = steps.(4_000)
    # Sixteen times, if each were compared with all others.
    assert many < few * 8
    assert Nx.shape(stacked) == {4_000, 2}
    assert Nx.to_list(stacked[3_999]) == [4_000, 4_000]
  end

  test "one tensor many times is one operand, another server's is refused", %{server: server} do
    [a, b] = for i <- 1..2, do: Nx.tensor([i, i])
    assert Nx.to_list(Nx.concatenate([a, b, a, b, a])) == [1, 1, 2, 2, 1, 1, 2, 2, 1, 1]
    many = List.duplicate(a, 50) ++ List.duplicate(b, 50)
    assert Nx.to_number(Nx.sum(Nx.concatenate(many))) == 300
    other = :"other_#{System.unique_integer([:positive])}"
    start_supervised!({Outrigger, name: other, threads: 1}, id: other)

    # Both servers count their tensors alike.
    for count <- [1, 20] do
      here = for i <- 1..count, do: Nx.tensor([i, 0], backend: {Backend, server: server})
      there = for i <- 1..60, do: Nx.tensor([i, 0], backend: {Backend, server: other})
      assert_raise Outrigger.ConnectionError, fn -> Nx.concatenate(here ++ there) end
    end
  end
end
