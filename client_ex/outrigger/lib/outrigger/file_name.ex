defmodule Outrigger.FileName do
  @moduledoc false
  # Names of files in the bytes of the system, for every locale of the VM.

  @doc """
  As `Path.expand/1`, but the working directory and the home directory keep their bytes. If the VM
  reads names as Latin 1 (`LC_ALL=C`), Elixir turns each byte beyond ASCII into two.
  """
  @spec expand(Path.t()) :: String.t()
  def expand("~" <> rest) when rest == "" or binary_part(rest, 0, 1) == "/",
    do: Path.expand(from_vm(System.user_home!()) <> rest)

  def expand(path) do
    if Path.type(path) == :absolute,
      do: Path.expand(path),
      else: Path.expand(path, from_vm(File.cwd!()))
  end

  @doc "Converts a name that the VM returned to the bytes of the system."
  @spec from_vm(String.t()) :: binary
  def from_vm(name) do
    case :unicode.characters_to_binary(name, :utf8, :file.native_name_encoding()) do
      native when is_binary(native) -> native
      _ -> name
    end
  end

  @doc "Converts a text for the environment of a program, so that the program gets its bytes."
  @spec to_vm(String.t()) :: charlist
  def to_vm(text) do
    case :file.native_name_encoding() do
      :latin1 -> :binary.bin_to_list(text)
      _ -> String.to_charlist(text)
    end
  end
end
