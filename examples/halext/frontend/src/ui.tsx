import type { ButtonHTMLAttributes, InputHTMLAttributes, ReactNode } from "react";
import { useId } from "react";
import { FiAlertCircle, FiLoader } from "react-icons/fi";
import type { Loaded } from "./load";
import styles from "./ui.module.css";

const join = (...names: (string | false | undefined)[]) => names.filter(Boolean).join(" ");

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "primary" | "plain" | "danger";
  busy?: boolean;
  icon?: ReactNode;
}

export function Button({ kind = "plain", busy, icon, children, className, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      className={join(styles.button, styles[kind], !children && styles.square, className)}
      aria-busy={busy}
      {...rest}
      disabled={rest.disabled || busy}
    >
      {busy ? <FiLoader className={styles.spin} aria-hidden /> : icon}
      {children}
    </button>
  );
}

interface FieldProps extends InputHTMLAttributes<HTMLInputElement> {
  label: string;
  hint?: string;
}

export function Field({ label, hint, className, ...rest }: FieldProps) {
  const id = useId();
  return (
    <div className={join(styles.field, className)}>
      <label htmlFor={id}>{label}</label>
      <input id={id} aria-describedby={hint && `${id}-hint`} {...rest} />
      {hint && <small id={`${id}-hint`}>{hint}</small>}
    </div>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
  hidden?: boolean;
}

export function Choice<T extends string>({ label, value, options, onChange, hidden }: ChoiceProps<T>) {
  const id = useId();
  return (
    <div className={styles.field}>
      <label htmlFor={id} className={hidden ? "unseen" : undefined}>
        {label}
      </label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value as T)}>
        {options.map(([name, text]) => (
          <option key={name} value={name}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

interface CardProps {
  title?: string;
  actions?: ReactNode;
  children: ReactNode;
}

export function Card({ title, actions, children }: CardProps) {
  return (
    <section className={styles.card}>
      {title && (
        <header>
          <h2>{title}</h2>
          {actions}
        </header>
      )}
      {children}
    </section>
  );
}

export function Problem({ children }: { children: ReactNode }) {
  if (!children) return null;
  return (
    <p className={styles.problem} role="alert">
      <FiAlertCircle aria-hidden /> <span>{children}</span>
    </p>
  );
}

export function Badge({ tone, children }: { tone?: string; children: ReactNode }) {
  return <span className={join(styles.badge, tone && styles[tone])}>{children}</span>;
}

export function Empty({ icon, title, children }: { icon: ReactNode; title: string; children: ReactNode }) {
  return (
    <div className={styles.empty}>
      {icon}
      <h2>{title}</h2>
      <p>{children}</p>
    </div>
  );
}

interface ReadyProps<T> {
  of: Loaded<T>;
  children: (data: T) => ReactNode;
}

/** Grey lines while it loads, what went wrong if it did, and the last that is known in any case. */
export function Ready<T>({ of, children }: ReadyProps<T>) {
  return (
    <>
      {of.error && (
        <Problem>
          {of.error} <Button onClick={of.reload}>Try again</Button>
        </Problem>
      )}
      {of.data !== null
        ? children(of.data)
        : !of.error && (
            <div className={styles.skeleton} role="status" aria-label="Loading">
              <i />
              <i />
              <i />
            </div>
          )}
    </>
  );
}
