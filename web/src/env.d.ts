interface ImportMetaEnv {
  readonly VITE_API_BASE?: string;
  readonly VITE_SOURCE_URL?: string;
  readonly VITE_CONTACT_URL?: string;
}
