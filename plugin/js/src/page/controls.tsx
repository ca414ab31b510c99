import { Autocomplete, Checkbox, FormControlLabel, TextField } from "@mui/material";
import React from "react";

interface CompleteProps {
  label: string;
  value: string;
  options: string[];
  onChange: (value: string) => void;
  /** Called with what is picked from the list, or typed and followed by Enter. */
  onChoose?: (value: string) => void;
  isFirst?: boolean;
}

export function Complete({ label, value, options, onChange, onChoose, isFirst }: CompleteProps) {
  return (
    <Autocomplete freeSolo size="small" sx={{ minWidth: 160, maxWidth: 240, flex: "1 1 180px" }} options={options}
      inputValue={value} onInputChange={(_, next) => onChange(next)}
      autoHighlight={Boolean(onChoose)} onChange={(_, chosen) => chosen?.trim() && onChoose?.(chosen.trim())}
      renderInput={(params) => <TextField {...params} label={label} autoFocus={isFirst} />} />
  );
}

interface CheckProps {
  label: string;
  value: boolean;
  onChange: (value: boolean) => void;
}

export function Check({ label, value, onChange }: CheckProps) {
  return (
    <FormControlLabel label={<span style={{ fontSize: 13 }}>{label}</span>}
      control={<Checkbox size="small" checked={value} onChange={(_, isOn) => onChange(isOn)} />} />
  );
}

interface PlainProps {
  children: React.ReactNode;
  onClick: (event: React.MouseEvent<HTMLElement>) => void;
  title?: string;
  isOn?: boolean;
  /** Of a button that says which of several is chosen. */
  isPressed?: boolean;
  disabled?: boolean;
}

/** A button that is no larger than its words. */
export function Plain({ children, onClick, title, isPressed, isOn = isPressed, disabled }: PlainProps) {
  return (
    <button type="button" className="alphaclip-plain" data-on={isOn || undefined} onClick={onClick} title={title}
      disabled={disabled} aria-pressed={isPressed}>
      {children}
    </button>
  );
}
